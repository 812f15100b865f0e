//! An interpreter of kernels, with subgroups of any size.

use std::collections::HashMap;
use std::rc::Rc;

use clipseg_shaders::Kernel;
use naga::back::PipelineConstants;
use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, Barrier, Binding, Block, BuiltIn, Expression, Function, GlobalVariable, Handle,
    LocalVariable, Module, ScalarKind, ShaderStage, Statement, SwitchValue,
};

use super::arithmetic::{Wide, kind_of};

/// What memory that nobody wrote holds: a NaN, which shows in every sum.
const UNWRITTEN: u32 = 0x7fc0_dead;

/// A kernel's dispatch.
pub struct Dispatch<'a> {
    pub kernel: &'a Kernel,
    pub params: &'a [u8],
    /// What it reads, in the order of its bindings: a word for each number, f16 as the same number in f32.
    pub inputs: &'a [&'a [u32]],
    /// Words that it writes.
    pub output: usize,
    pub grid: [u32; 3],
    /// Of each subgroup; they divide the workgroup.
    pub lanes: usize,
    pub constants: &'a [(&'static str, u32)],
}

impl Dispatch<'_> {
    /// Runs all workgroups, one after the other, and gives the output. The threads of one run in lockstep:
    /// this cannot tell that a barrier is missing. It does tell what is read beyond its end or unwritten, and
    /// a barrier or a subgroup operation that some threads do not come to.
    pub fn run(&self) -> Vec<u32> {
        let name = self.kernel.name;
        let module = naga::front::wgsl::parse_str(self.kernel.source).expect(name);
        // As in build/main.rs.
        let capabilities = Capabilities::SUBGROUP
            | Capabilities::SUBGROUP_BARRIER
            | Capabilities::SHADER_FLOAT16_IN_FLOAT32
            | Capabilities::SHADER_FLOAT16
            | Capabilities::COOPERATIVE_MATRIX;
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).expect(name);
        let constants: PipelineConstants =
            self.constants.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        let entry = Some((ShaderStage::Compute, self.kernel.entry_point));
        let (module, info) = process_overrides(&module, &info, entry, &constants).expect(name);
        let mut machine = Machine {
            module: &module,
            info: &info,
            threads: self.kernel.workgroup_size.iter().product::<u32>() as usize,
            lanes: self.lanes,
            memory: HashMap::new(),
        };
        let mut params: Vec<u32> = self
            .params
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("whole words")))
            .collect();
        params.resize(self.kernel.params_bytes.div_ceil(4) as usize, 0);
        let output = vec![UNWRITTEN; self.output];
        let bound = [params.as_slice()].into_iter().chain(self.inputs.iter().copied()).chain([&*output]);
        let bound: Vec<_> = bound.map(<[u32]>::to_vec).collect();
        let mut written = None;
        for (handle, variable) in module.global_variables.iter() {
            if let Some(binding) = &variable.binding {
                machine.memory.insert(handle, bound[binding.binding as usize].clone());
                if binding.binding as usize == bound.len() - 1 {
                    written = Some(handle);
                }
            }
        }
        let [columns, rows, planes] = self.grid;
        for z in 0..planes {
            for y in 0..rows {
                for x in 0..columns {
                    machine.run_workgroup([x, y, z], self.grid);
                }
            }
        }
        machine.memory.remove(&written.expect("a kernel has an output")).expect("it was bound")
    }
}

/// A kernel, and what its workgroups share.
pub struct Machine<'a> {
    pub module: &'a Module,
    info: &'a ModuleInfo,
    /// Of a workgroup, and of a subgroup.
    pub threads: usize,
    pub lanes: usize,
    pub memory: HashMap<Handle<GlobalVariable>, Vec<u32>>,
}

/// A call of a function by all threads that take part.
pub struct Frame<'a> {
    pub function: &'a Function,
    pub info: &'a FunctionInfo,
    pub arguments: Vec<Value>,
    /// Of the expressions that were computed.
    pub values: HashMap<Handle<Expression>, Value>,
    locals: HashMap<Handle<LocalVariable>, Wide>,
    /// The loops and switches around what runs.
    around: Vec<Around>,
    result: Option<Wide>,
}

/// Threads that have left the body of a loop or of a switch.
struct Around {
    is_loop: bool,
    broken: Vec<bool>,
    continued: Vec<bool>,
}

/// What an expression is to each thread.
#[derive(Clone)]
pub enum Value {
    Data(Rc<Wide>),
    /// Where it lies, in words of a variable, for each thread.
    Pointer(Root, Rc<Vec<u32>>),
}

/// The variable that a pointer points into.
#[derive(Clone, Copy)]
pub enum Root {
    Global(Handle<GlobalVariable>),
    Local(Handle<LocalVariable>),
}

impl Value {
    pub fn data(&self) -> &Wide {
        match self {
            Self::Data(wide) => wide,
            Self::Pointer(..) => panic!("a pointer in place of a value"),
        }
    }
}

impl From<Wide> for Value {
    fn from(wide: Wide) -> Self {
        Self::Data(Rc::new(wide))
    }
}

fn any(active: &[bool]) -> bool {
    active.contains(&true)
}

/// Adds the threads of `others`.
fn join(threads: &mut [bool], others: &[bool]) {
    threads.iter_mut().zip(others).for_each(|(thread, other)| *thread |= other);
}

impl<'a> Machine<'a> {
    fn run_workgroup(&mut self, id: [u32; 3], grid: [u32; 3]) {
        for (handle, variable) in self.module.global_variables.iter() {
            if variable.space == AddressSpace::WorkGroup {
                let words = self.words_of(variable.ty);
                self.memory.insert(handle, vec![UNWRITTEN; words]);
            }
        }
        let entry = &self.module.entry_points[0];
        let [across, down, _] = entry.workgroup_size;
        let threads = self.threads;
        let argument = |built_in: BuiltIn| match built_in {
            BuiltIn::WorkGroupId => Wide::uniform(threads, &id),
            BuiltIn::NumWorkGroups => Wide::uniform(threads, &grid),
            BuiltIn::LocalInvocationIndex => Wide::of(threads, 1, |thread, _| thread as u32),
            BuiltIn::LocalInvocationId => Wide::of(threads, 3, |thread, side| {
                let thread = thread as u32;
                [thread % across, thread / across % down, thread / (across * down)][side]
            }),
            BuiltIn::SubgroupId => Wide::of(threads, 1, |thread, _| (thread / self.lanes) as u32),
            BuiltIn::SubgroupInvocationId => Wide::of(threads, 1, |thread, _| (thread % self.lanes) as u32),
            other => panic!("{other:?} is not interpreted"),
        };
        let built_in = |binding: &Option<Binding>| match binding {
            Some(Binding::BuiltIn(built_in)) => *built_in,
            other => panic!("{other:?} is not what a kernel is given"),
        };
        let arguments =
            entry.function.arguments.iter().map(|it| argument(built_in(&it.binding)).into()).collect();
        self.call(&entry.function, self.info.get_entry_point(0), arguments, &vec![true; threads]);
    }

    fn call(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Value>,
        active: &[bool],
    ) -> Option<Wide> {
        let (values, locals, around) = Default::default();
        let mut frame = Frame { function, info, arguments, values, locals, around, result: None };
        if let Some(result) = &function.result {
            frame.result = Some(Wide::of(self.threads, self.words_of(result.ty), |_, _| UNWRITTEN));
        }
        for (handle, local) in function.local_variables.iter() {
            // WGSL has zeros where nothing else is said.
            let init = match local.init {
                Some(init) => self.value(&frame, init).data().clone(),
                None => Wide::of(self.threads, self.words_of(local.ty), |_, _| 0),
            };
            frame.locals.insert(handle, init);
        }
        self.run(&mut frame, &function.body, active.to_vec());
        frame.result
    }

    /// Runs a block by the active threads. Gives those that come to its end.
    fn run(&mut self, frame: &mut Frame<'a>, block: &'a Block, mut active: Vec<bool>) -> Vec<bool> {
        for statement in block {
            if !any(&active) {
                break;
            }
            match statement {
                Statement::Emit(range) => {
                    for handle in range.clone() {
                        let value = self.evaluate(frame, handle, &active);
                        frame.values.insert(handle, value);
                    }
                }
                Statement::Block(inner) => active = self.run(frame, inner, active),
                Statement::If { condition, accept, reject } => {
                    let condition = self.value(frame, *condition);
                    let side = |wanted: bool| {
                        let is = |thread: usize| (condition.data().at(thread)[0] != 0) == wanted;
                        active.iter().enumerate().map(|(thread, &active)| active && is(thread)).collect()
                    };
                    let [accepted, rejected] = [side(true), side(false)];
                    active = self.run(frame, accept, accepted);
                    let rejected = self.run(frame, reject, rejected);
                    join(&mut active, &rejected);
                }
                Statement::Switch { selector, cases } => {
                    let selector = self.value(frame, *selector);
                    let first = selector.data().at(0)[0];
                    assert!(selector.data().words.iter().all(|&word| word == first), "a switch that divides");
                    let is_it = |value: SwitchValue| value == SwitchValue::U32(first);
                    let case = cases.iter().find(|case| is_it(case.value)).or(cases.last());
                    let case = case.expect("a switch has a default");
                    assert!(!case.fall_through, "a case that falls through is not interpreted");
                    (active, _) = self.run_within(frame, &case.body, active, false);
                }
                Statement::Loop { body, continuing, break_if } => {
                    let mut left = vec![false; self.threads];
                    while any(&active) {
                        let (broken, through) = self.run_within(frame, body, active, true);
                        join(&mut left, &broken);
                        active = self.run(frame, continuing, through);
                        if let Some(condition) = break_if {
                            let condition = self.value(frame, *condition);
                            for (thread, active) in active.iter_mut().enumerate() {
                                let is_done = *active && condition.data().at(thread)[0] != 0;
                                left[thread] |= is_done;
                                *active &= !is_done;
                            }
                        }
                    }
                    active = left;
                }
                Statement::Break => {
                    let around = frame.around.last_mut().expect("a break is within something");
                    join(&mut around.broken, &active);
                    active.fill(false);
                }
                Statement::Continue => {
                    let around = frame.around.iter_mut().rev().find(|around| around.is_loop);
                    join(&mut around.expect("a continue is within a loop").continued, &active);
                    active.fill(false);
                }
                Statement::Return { value } => {
                    if let Some(value) = value {
                        let value = self.value(frame, *value);
                        let result = frame.result.as_mut().expect("the function has a result");
                        copy(result, value.data(), &active);
                    }
                    active.fill(false);
                }
                Statement::ControlBarrier(Barrier::SUB_GROUP) => self.assert_whole_subgroups(&active),
                Statement::ControlBarrier(_) => {
                    assert!(
                        active.iter().all(|&active| active),
                        "a barrier that some threads do not come to"
                    );
                }
                Statement::Store { pointer, value } => {
                    let value = self.value(frame, *value);
                    let pointer = self.value(frame, *pointer);
                    self.store(frame, &pointer, value.data(), &active);
                }
                Statement::Call { function, arguments, result } => {
                    let arguments = arguments.iter().map(|&it| self.value(frame, it)).collect();
                    let callee = &self.module.functions[*function];
                    let value = self.call(callee, &self.info[*function], arguments, &active);
                    if let Some(result) = result {
                        frame.values.insert(*result, value.expect("the function has a result").into());
                    }
                }
                Statement::SubgroupCollectiveOperation { op, argument, result, .. } => {
                    let value = self.value(frame, *argument);
                    let kind = kind_of(frame.info[*argument].ty.inner_with(&self.module.types));
                    let reduced = self.reduce(*op, kind == ScalarKind::Float, value.data(), &active);
                    frame.values.insert(*result, reduced.into());
                }
                Statement::SubgroupGather { mode, argument, result } => {
                    let value = self.value(frame, *argument);
                    let gathered = self.gather(frame, mode, value.data(), &active);
                    frame.values.insert(*result, gathered.into());
                }
                Statement::CooperativeStore { target, data } => {
                    let matrix = self.value(frame, *target);
                    self.store_matrix(frame, matrix.data(), data, &active);
                }
                other => panic!("{other:?} is not interpreted"),
            }
        }
        active
    }

    /// Runs the body of a loop or a switch. Gives the threads that leave it by a break, which of a switch are
    /// all that go on, and of a loop those that go on with it.
    fn run_within(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Block,
        active: Vec<bool>,
        is_loop: bool,
    ) -> (Vec<bool>, Vec<bool>) {
        let none = vec![false; self.threads];
        frame.around.push(Around { is_loop, broken: none.clone(), continued: none });
        let mut through = self.run(frame, body, active);
        let Around { mut broken, continued, .. } = frame.around.pop().expect("it was put there");
        match is_loop {
            true => join(&mut through, &continued),
            false => join(&mut broken, &through),
        }
        (broken, through)
    }

    fn store(&mut self, frame: &mut Frame<'a>, pointer: &Value, value: &Wide, active: &[bool]) {
        let Value::Pointer(root, places) = pointer else { panic!("a store through no pointer") };
        for thread in (0..self.threads).filter(|&thread| active[thread]) {
            let place = places[thread] as usize;
            let own = match root {
                Root::Local(local) => {
                    let wide = frame.locals.get_mut(local).expect("locals are made with the frame");
                    let size = wide.size;
                    &mut wide.words[thread * size..][..size]
                }
                Root::Global(global) => self.memory.get_mut(global).expect("it was bound").as_mut_slice(),
            };
            assert!(place + value.size <= own.len(), "a store of {} at {place}", value.size);
            own[place..][..value.size].copy_from_slice(value.at(thread));
        }
    }

    pub fn load(&self, frame: &Frame<'a>, pointer: &Value, size: usize, active: &[bool]) -> Wide {
        let Value::Pointer(root, places) = pointer else { panic!("a load through no pointer") };
        Wide::of(self.threads, size, |thread, word| {
            if !active[thread] {
                return UNWRITTEN;
            }
            let place = places[thread] as usize + word;
            let own = match root {
                Root::Local(local) => frame.locals[local].at(thread),
                Root::Global(global) => self.memory[global].as_slice(),
            };
            assert!(place < own.len(), "a load of {size} beyond the end at {place}");
            own[place]
        })
    }
}

/// Of the active threads.
fn copy(to: &mut Wide, from: &Wide, active: &[bool]) {
    for thread in (0..active.len()).filter(|&thread| active[thread]) {
        let size = to.size;
        to.words[thread * size..][..size].copy_from_slice(from.at(thread));
    }
}

//! What expressions are: values of types, and places in memory.

use std::rc::Rc;

use naga::{
    AddressSpace, Arena, ArraySize, Expression, Handle, Literal, Scalar, ScalarKind, Type, TypeInner,
};

use super::arithmetic::{Wide, binary, cast, kind_of, math, select, to_f16, unary};
use super::machine::{Frame, Machine, Root, Value};

impl<'a> Machine<'a> {
    /// The words of a value of a type, without the gaps that it has in memory.
    pub fn words_of(&self, ty: Handle<Type>) -> usize {
        self.words(&self.module.types[ty].inner)
    }

    /// The words of what a pointer points to.
    pub fn words_at(&self, frame: &Frame<'a>, pointer: Handle<Expression>) -> usize {
        self.words(frame.info[pointer].ty.inner_with(&self.module.types))
    }

    fn words(&self, inner: &TypeInner) -> usize {
        match inner {
            TypeInner::Scalar(_) => 1,
            TypeInner::Vector { size, .. } => *size as usize,
            TypeInner::Matrix { columns, rows, .. } => *columns as usize * *rows as usize,
            TypeInner::CooperativeMatrix { columns, rows, .. } => *columns as usize * *rows as usize,
            TypeInner::Array { base, size: ArraySize::Constant(count), .. } => {
                self.words_of(*base) * count.get() as usize
            }
            TypeInner::Struct { members, .. } => members.iter().map(|member| self.words_of(member.ty)).sum(),
            TypeInner::ValuePointer { size, .. } => size.map_or(1, |size| size as usize),
            TypeInner::Pointer { base, .. } => self.words_of(*base),
            other => panic!("{other:?} is not interpreted"),
        }
    }

    /// Where a component of a type begins, and how many words it has.
    fn component(&self, inner: &TypeInner, index: usize) -> (usize, usize) {
        match *inner {
            TypeInner::Vector { .. } | TypeInner::ValuePointer { .. } => (index, 1),
            TypeInner::Matrix { rows, .. } => (index * rows as usize, rows as usize),
            TypeInner::Array { base, .. } => {
                let words = self.words_of(base);
                (index * words, words)
            }
            TypeInner::Struct { ref members, .. } => {
                let start = members[..index].iter().map(|member| self.words_of(member.ty)).sum();
                (start, self.words_of(members[index].ty))
            }
            TypeInner::Pointer { base, space } => match (&self.module.types[base].inner, space) {
                (TypeInner::Struct { members, .. }, AddressSpace::Uniform) => {
                    (members[index].offset as usize / 4, self.words_of(members[index].ty))
                }
                (inner, _) => self.component(inner, index),
            },
            ref other => panic!("{other:?} has no components"),
        }
    }

    /// A value that was computed before, or stands for itself.
    pub fn value(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Value {
        match (frame.values.get(&handle), &frame.function.expressions[handle]) {
            (Some(value), _) => value.clone(),
            (None, Expression::FunctionArgument(place)) => frame.arguments[*place as usize].clone(),
            (None, Expression::GlobalVariable(global)) => {
                Value::Pointer(Root::Global(*global), Rc::new(vec![0; self.threads]))
            }
            (None, Expression::LocalVariable(local)) => {
                Value::Pointer(Root::Local(*local), Rc::new(vec![0; self.threads]))
            }
            _ => {
                let words = self.constant(&frame.function.expressions, handle);
                Wide::uniform(self.threads, &words).into()
            }
        }
    }

    fn constant(&self, expressions: &Arena<Expression>, handle: Handle<Expression>) -> Vec<u32> {
        match &expressions[handle] {
            Expression::Literal(Literal::F32(value)) => vec![value.to_bits()],
            Expression::Literal(Literal::U32(value)) => vec![*value],
            Expression::Literal(Literal::Bool(value)) => vec![(*value).into()],
            Expression::Constant(constant) => {
                self.constant(&self.module.global_expressions, self.module.constants[*constant].init)
            }
            Expression::ZeroValue(ty) => vec![0; self.words_of(*ty)],
            Expression::Compose { components, .. } => {
                components.iter().flat_map(|&component| self.constant(expressions, component)).collect()
            }
            Expression::Splat { size, value } => {
                vec![self.constant(expressions, *value)[0]; *size as usize]
            }
            other => panic!("{other:?} was not computed"),
        }
    }

    pub fn evaluate(&self, frame: &Frame<'a>, handle: Handle<Expression>, active: &[bool]) -> Value {
        let inner = |handle: Handle<Expression>| frame.info[handle].ty.inner_with(&self.module.types);
        let value = |handle: Handle<Expression>| self.value(frame, handle);
        let wide = match &frame.function.expressions[handle] {
            Expression::Access { base, index } => {
                let index = value(*index);
                let index = |thread: usize| index.data().at(thread)[0] as usize;
                return self.access(&value(*base), inner(*base), index);
            }
            Expression::AccessIndex { base, index } => {
                return self.access(&value(*base), inner(*base), |_| *index as usize);
            }
            Expression::Compose { components, .. } => {
                let components: Vec<_> = components.iter().map(|&it| value(it)).collect();
                let all = (0..self.threads)
                    .flat_map(|thread| components.iter().flat_map(move |it| it.data().at(thread)));
                let size = components.iter().map(|it| it.data().size).sum();
                Wide { size, words: all.copied().collect() }
            }
            Expression::Splat { size, value: scalar } => {
                let scalar = value(*scalar);
                Wide::of(self.threads, *size as usize, |thread, _| scalar.data().at(thread)[0])
            }
            Expression::Swizzle { size, vector, pattern } => {
                let vector = value(*vector);
                let word = |thread: usize, word: usize| vector.data().at(thread)[pattern[word] as usize];
                Wide::of(self.threads, *size as usize, word)
            }
            Expression::Load { pointer } => {
                self.load(frame, &value(*pointer), self.words(inner(*pointer)), active)
            }
            Expression::Unary { op, expr } => unary(*op, kind_of(inner(*expr)), value(*expr).data()),
            Expression::Binary { op, left, right } => {
                let is_f16 = |side| inner(side).scalar() == Some(Scalar::F16);
                assert!(!is_f16(*left) && !is_f16(*right), "arithmetic in f16 is not interpreted");
                binary(*op, [inner(*left), inner(*right)], value(*left).data(), value(*right).data())
            }
            Expression::Select { condition, accept, reject } => {
                select(value(*condition).data(), value(*accept).data(), value(*reject).data())
            }
            Expression::Math { fun, arg, arg1, arg2, .. } => {
                let arguments: Vec<_> = [Some(*arg), *arg1, *arg2].into_iter().flatten().map(value).collect();
                let arguments: Vec<_> = arguments.iter().map(Value::data).collect();
                math(*fun, inner(*arg), &arguments)
            }
            Expression::As { expr, kind, convert } => {
                let value = value(*expr);
                match (*kind, convert) {
                    (ScalarKind::Float, Some(2)) => to_f16(kind_of(inner(*expr)), value.data()),
                    _ => cast(kind_of(inner(*expr)), *kind, convert.is_some(), value.data()),
                }
            }
            Expression::CooperativeLoad { rows, data, .. } => {
                self.load_matrix(frame, *rows as usize, data, active)
            }
            Expression::CooperativeMultiplyAdd { a, b, c } => {
                let [a, b, c] = [a, b, c].map(|&matrix| value(matrix));
                self.multiply_add([a.data(), b.data(), c.data()], active)
            }
            _ => return value(handle),
        };
        wide.into()
    }

    /// A component of a value, or a pointer to it.
    fn access(&self, base: &Value, inner: &TypeInner, index: impl Fn(usize) -> usize) -> Value {
        let (_, size) = self.component(inner, 0);
        let size = match inner {
            // Its components differ in size, and it is accessed by one number for all threads.
            TypeInner::Struct { .. } => self.component(inner, index(0)).1,
            _ => size,
        };
        match base {
            Value::Pointer(root, places) => {
                let place = |thread: usize| {
                    places[thread].wrapping_add(self.component(inner, index(thread)).0 as u32)
                };
                Value::Pointer(*root, Rc::new((0..self.threads).map(place).collect()))
            }
            Value::Data(wide) => Wide::of(self.threads, size, |thread, word| {
                wide.at(thread)[self.component(inner, index(thread)).0 + word]
            })
            .into(),
        }
    }
}

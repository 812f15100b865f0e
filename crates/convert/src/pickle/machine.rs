//! The stack machine: protocol 2 as PyTorch's two writers use it, `pickle.py` and TorchScript's C++.
//!
//! Opcodes are named as in Python's `pickletools`.

use std::collections::HashMap;

use clipseg_files::shown;

use super::globals::{self, Global};
use super::value::{Object, Objects, Value};
use super::{Dialect, MAX_VALUES};

type Step<T = ()> = Result<T, String>;

/// A running program.
pub(super) struct Machine<'a> {
    rest: &'a [u8],
    length: usize,
    dialect: Dialect,
    stack: Vec<Value>,
    /// Heights of the stack at each open MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Objects,
}

impl<'a> Machine<'a> {
    pub(super) fn new(program: &'a [u8], dialect: Dialect) -> Self {
        Self {
            rest: program,
            length: program.len(),
            dialect,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Objects::default(),
        }
    }

    /// Runs the program to its end. Returns the value left on the stack, and the objects that it may refer
    /// to.
    pub(super) fn run(mut self) -> Step<(Value, Objects)> {
        loop {
            let [opcode] = self.take()?;
            if opcode == b'.' {
                let root = self.pop()?;
                return Ok((root, self.objects));
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            // PROTO
            0x80 => match self.take()? {
                [2] => Ok(()),
                [protocol] => Err(format!(
                    "is a pickle of protocol {protocol}; PyTorch writes 2. Re-save the file with torch.save's default"
                )),
            },
            b'(' => self.open_mark(),
            // Constants: NONE, NEWTRUE, NEWFALSE, BININT, BININT1, BININT2, LONG1, BINFLOAT, BINUNICODE
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'J' => {
                let bytes = self.take()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))
            }
            b'K' => {
                let [byte] = self.take()?;
                self.push(Value::Int(byte.into()))
            }
            b'M' => {
                let bytes = self.take()?;
                self.push(Value::Int(u16::from_le_bytes(bytes).into()))
            }
            0x8a => self.long(),
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Float)
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?) as usize;
                let text =
                    std::str::from_utf8(self.slice(length)?).map_err(|_| "has a text that is not UTF-8")?;
                self.push(Value::Text(text.into()))
            }
            b'c' => self.global(),
            // The memo: BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
            b'q' => {
                let [place] = self.take()?;
                self.put(place.into())
            }
            b'r' => {
                let place = u32::from_le_bytes(self.take()?);
                self.put(place)
            }
            b'h' => {
                let [place] = self.take()?;
                self.get(place.into())
            }
            b'j' => {
                let place = u32::from_le_bytes(self.take()?);
                self.get(place)
            }
            // Containers: EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE, EMPTY_LIST, APPEND, APPENDS,
            // EMPTY_DICT, SETITEM, SETITEMS
            b')' => self.tuple(0),
            0x85..=0x87 => self.tuple(usize::from(opcode - 0x84)),
            b't' => {
                let count = self.close_mark()?;
                self.tuple(count)
            }
            b']' => self.push(Value::List),
            b'a' => self.append(1),
            b'e' => {
                let count = self.close_mark()?;
                self.append(count)
            }
            b'}' => self.make(Object::Dict(Vec::new())),
            b's' => self.set_items(2),
            b'u' => {
                let count = self.close_mark()?;
                self.set_items(count)
            }
            // Objects: BINPERSID, REDUCE, NEWOBJ, BUILD
            b'Q' => {
                let id = self.pop()?;
                let storage = globals::storage(&id, &self.objects).map_err(|message| self.named(message))?;
                self.make(Object::Storage(storage))
            }
            b'R' => self.reduce(),
            0x81 => self.new_module(),
            b'b' => self.build(),
            other => Err(format!(
                "holds the pickle opcode 0x{other:02x} at byte {}, which a state dict does not need; it is refused",
                self.length - self.rest.len() - 1
            )),
        }
    }

    /// LONG1: an integer of up to eight bytes.
    fn long(&mut self) -> Step {
        let [length] = self.take()?;
        let bytes = self.slice(usize::from(length))?;
        if bytes.len() > 8 {
            return Err(format!("holds a number of {length} bytes; none of a tensor's needs more than 8"));
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn global(&mut self) -> Step {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::find(module, name, self.dialect)?;
        self.push(Value::Global(global))
    }

    fn reduce(&mut self) -> Step {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let Value::Global(function) = function else {
            return Err(format!("calls {}, which is not a function", self.objects.kind(&function)));
        };
        let result = function.call(&arguments, &mut self.objects).map_err(|message| self.named(message))?;
        self.push(result)
    }

    /// A message with the name of the tensor that is being made, if it is to be an item of a dict: the key is
    /// put on the stack before its value, and behind it stand at most the functions that make the value.
    fn named(&self, message: String) -> String {
        match self.stack.iter().rev().find(|value| !matches!(value, Value::Global(_))) {
            Some(Value::Text(name)) => format!("{message} (tensor `{}`)", shown(name)),
            _ => message,
        }
    }

    fn new_module(&mut self) -> Step {
        let arguments = self.pop()?;
        let class = self.pop()?;
        match (class, self.objects.tuple(&arguments)?) {
            (Value::Global(Global::ModuleClass), []) => self.make(Object::Module(None)),
            _ => Err("makes an object that is not a TorchScript module; it is refused".to_owned()),
        }
    }

    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let target = self.top()?.clone();
        let attributes = match (&state, self.objects.get(&state)) {
            (Value::Object(id), Some(Object::Dict(_))) => *id,
            _ => return Err(format!("gives an object {} as its state", self.objects.kind(&state))),
        };
        match self.objects.get_mut(&target) {
            // The state of a dict is `_metadata` of a state dict: versions of modules, which are not needed
            // to read tensors.
            Some(Object::Dict(_)) => Ok(()),
            Some(Object::Module(known)) => {
                *known = Some(attributes);
                Ok(())
            }
            _ => Err(format!("gives {} a state", self.objects.kind(&target))),
        }
    }

    fn tuple(&mut self, count: usize) -> Step {
        let items = self.pop_many(count)?;
        self.make(Object::Tuple(items))
    }

    fn append(&mut self, count: usize) -> Step {
        self.pop_many(count)?;
        match self.top()? {
            Value::List => Ok(()),
            other => Err(format!("appends to {}", self.objects.kind(other))),
        }
    }

    fn set_items(&mut self, count: usize) -> Step {
        let items = self.pop_many(count)?;
        let target = self.top()?.clone();
        match self.objects.get_mut(&target) {
            Some(Object::Dict(known)) if items.len().is_multiple_of(2) => {
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    known.push((key, value));
                }
                Ok(())
            }
            Some(Object::Dict(_)) => Err("sets a key without a value".to_owned()),
            _ => Err(format!("sets items of {}", self.objects.kind(&target))),
        }
    }

    fn put(&mut self, place: u32) -> Step {
        let value = self.top()?.clone();
        self.memo.insert(place, value);
        check_count(self.memo.len())
    }

    fn get(&mut self, place: u32) -> Step {
        let value = self.memo.get(&place).cloned();
        self.push(value.ok_or_else(|| format!("recalls the value {place}, which it has not stored"))?)
    }

    fn make(&mut self, object: Object) -> Step {
        let value = self.objects.add(object)?;
        self.push(value)
    }

    fn push(&mut self, value: Value) -> Step {
        self.stack.push(value);
        check_count(self.stack.len())
    }

    /// Height of the stack at the innermost open MARK. Values below it must not be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<&Value> {
        self.stack[self.floor()..].last().ok_or_else(empty_stack)
    }

    fn pop(&mut self) -> Step<Value> {
        self.top()?;
        self.stack.pop().ok_or_else(empty_stack)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Value>> {
        match (self.stack.len() - self.floor()).checked_sub(count) {
            Some(left) => Ok(self.stack.split_off(self.floor() + left)),
            None => Err(empty_stack()),
        }
    }

    fn open_mark(&mut self) -> Step {
        self.marks.push(self.stack.len());
        check_count(self.marks.len())
    }

    /// Closes the innermost MARK and returns the number of values above it.
    fn close_mark(&mut self) -> Step<usize> {
        let mark = self.marks.pop().ok_or("closes a mark that it has not opened")?;
        // `pop` never goes below an open mark, so the stack is at least as high as the mark.
        Ok(self.stack.len() - mark)
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn slice(&mut self, length: usize) -> Step<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The text up to the end of the line.
    fn line(&mut self) -> Step<&'a str> {
        let length = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(ends_early)?;
        let line = self.slice(length)?;
        self.take::<1>()?;
        std::str::from_utf8(line).map_err(|_| "has a name that is not UTF-8".to_owned())
    }
}

fn check_count(count: usize) -> Step {
    match count > MAX_VALUES {
        true => Err(format!("holds more than {MAX_VALUES} values at once; a state dict has a few thousand")),
        false => Ok(()),
    }
}

fn empty_stack() -> String {
    "takes a value from an empty stack".to_owned()
}

fn ends_early() -> String {
    "ends in the middle of its pickle; download it again".to_owned()
}

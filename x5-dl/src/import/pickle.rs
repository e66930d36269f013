//! Pickles as data: what would be called is noted, nothing is.
//!
//! The opcodes are those of protocol 2 to 4, <https://docs.python.org/3/library/pickletools.html>, as far as a
//! checkpoint of plain objects has them. An object of a class is its constructor and arguments; its state is left out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// A Python object.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A number that is no whole one, a set, bytes, `None` and other things that no tensor is described by.
    Other,
    Int(i64),
    Text(String),
    Tuple(Rc<Vec<Value>>),
    List(Rc<RefCell<Vec<Value>>>),
    /// A dictionary, ordered or not; in the order of the file.
    Dict(Rc<RefCell<Vec<(Value, Value)>>>),
    /// A function or class by its full name.
    Global(String),
    /// What stands outside the pickle, by its description.
    Persistent(Rc<Value>),
    /// A function or class, and what it would be called with.
    Call(Rc<String>, Rc<Value>),
}

/// Arguments of an opcode, taken from the bytes one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
}

/// Stack, marks and memory of the pickle machine.
#[derive(Default)]
struct Machine {
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

const ENDS_EARLY: &str = "the pickle ends early";
const NO_OBJECT: &str = "the pickle takes an object that is not there";

/// The object that a pickle describes. The error is a reason.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes };
    let mut machine = Machine::default();
    loop {
        let opcode = reader.byte()?;
        if opcode == b'.' {
            return machine.pop();
        }
        machine.step(opcode, &mut reader)?;
    }
}

impl Machine {
    fn step(&mut self, opcode: u8, reader: &mut Reader<'_>) -> Result<(), String> {
        match opcode {
            // Headers: the protocol, and the length of a frame.
            0x80 => drop(reader.take(1)?),
            0x95 => drop(reader.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => self.stack.push(self.stack.last().cloned().ok_or(NO_OBJECT)?),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'G' => {
                reader.take(8)?;
                self.stack.push(Value::Other);
            }
            b'K' => self.stack.push(Value::Int(reader.little(1)?)),
            b'M' => self.stack.push(Value::Int(reader.little(2)?)),
            b'J' => {
                let number = reader.little(4)? as u32;
                self.stack.push(Value::Int(i64::from(number.cast_signed())));
            }
            0x8a => {
                let width = reader.byte()?;
                self.stack.push(reader.long(usize::from(width))?);
            }
            b'X' => self.text(reader, 4)?,
            0x8c => self.text(reader, 1)?,
            0x8d => self.text(reader, 8)?,
            b'B' => self.bytes(reader, 4)?,
            b'C' => self.bytes(reader, 1)?,
            0x8e => self.bytes(reader, 8)?,
            b')' => self.tuple(0)?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.since_mark()?;
                self.stack.push(Value::Tuple(Rc::new(items)));
            }
            b']' => self.stack.push(Value::List(Rc::default())),
            b'}' => self.stack.push(Value::Dict(Rc::default())),
            0x8f => self.stack.push(Value::Other),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            0x91 => {
                self.since_mark()?;
                self.stack.push(Value::Other);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(items)?;
            }
            b'c' => {
                let name = format!("{}.{}", reader.line()?, reader.line()?);
                self.stack.push(Value::Global(name));
            }
            0x93 => {
                let (Value::Text(name), Value::Text(module)) = (self.pop()?, self.pop()?) else {
                    return Err("a class without a name".into());
                };
                self.stack.push(Value::Global(format!("{module}.{name}")));
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.stack.push(call(function, arguments));
            }
            // The state of an object.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let description = self.pop()?;
                self.stack.push(Value::Persistent(Rc::new(description)));
            }
            b'q' | b'r' => {
                let key = reader.little(if opcode == b'q' { 1 } else { 4 })? as u32;
                self.remember(key)?;
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).map_err(|e| e.to_string())?;
                self.remember(key)?;
            }
            b'h' | b'j' => {
                let key = reader.little(if opcode == b'h' { 1 } else { 4 })? as u32;
                self.stack.push(self.memo.get(&key).cloned().ok_or(NO_OBJECT)?);
            }
            _ => return Err(format!("an opcode of pickle that is not known: {opcode:#04x}")),
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| NO_OBJECT.to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or(NO_OBJECT)?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let from = self.stack.len().checked_sub(count).ok_or(NO_OBJECT)?;
        let items = self.stack.split_off(from);
        self.stack.push(Value::Tuple(Rc::new(items)));
        Ok(())
    }

    fn text(&mut self, reader: &mut Reader<'_>, width: usize) -> Result<(), String> {
        let bytes = reader.counted(width)?;
        let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
        self.stack.push(Value::Text(text.to_owned()));
        Ok(())
    }

    fn bytes(&mut self, reader: &mut Reader<'_>, width: usize) -> Result<(), String> {
        reader.counted(width)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), String> {
        match self.stack.last().ok_or(NO_OBJECT)? {
            Value::List(list) => list.borrow_mut().extend(items),
            // A set, or an object that behaves like a list.
            _ => drop(items),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Value>) -> Result<(), String> {
        if let Value::Dict(pairs) = self.stack.last().ok_or(NO_OBJECT)? {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.borrow_mut().push((key, value));
            }
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let value = self.stack.last().cloned().ok_or(NO_OBJECT)?;
        self.memo.insert(key, value);
        Ok(())
    }
}

/// What a call gives: an ordered dictionary is a dictionary, everything else stays a call.
fn call(function: Value, arguments: Value) -> Value {
    match function {
        Value::Global(name) if name == "collections.OrderedDict" => Value::Dict(Rc::default()),
        Value::Global(name) => Value::Call(Rc::new(name), Rc::new(arguments)),
        _ => Value::Other,
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(ENDS_EARLY)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// An unsigned number of up to 8 bytes.
    fn little(&mut self, width: usize) -> Result<i64, String> {
        let number = self.take(width)?.iter().rev().fold(0u64, |number, &b| (number << 8) | u64::from(b));
        i64::try_from(number).map_err(|e| e.to_string())
    }

    /// A number in two's complement; what does not fit 64 bits is no size and no key.
    fn long(&mut self, width: usize) -> Result<Value, String> {
        let bytes = self.take(width)?;
        if width > 8 {
            return Ok(Value::Other);
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { -1i64 } else { 0 };
        Ok(Value::Int(bytes.iter().rev().fold(sign, |number, &b| (number << 8) | i64::from(b))))
    }

    fn counted(&mut self, width: usize) -> Result<&'a [u8], String> {
        let count = usize::try_from(self.little(width)?).map_err(|e| e.to_string())?;
        self.take(count)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.bytes.iter().position(|&b| b == b'\n').ok_or(ENDS_EARLY)?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_noted_and_not_run() {
        // os.system("x") as a malicious pickle has it: the global, a tuple of one text, a call.
        let found = parse(b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R.").unwrap();
        let Value::Call(name, arguments) = found else { panic!("{found:?}") };
        assert_eq!(*name, "os.system");
        assert!(matches!(&*arguments, Value::Tuple(items) if items.len() == 1));
    }

    #[test]
    fn whole_numbers_of_each_width() {
        let number = |bytes: &[u8]| match parse(bytes) {
            Ok(Value::Int(number)) => number,
            other => panic!("{other:?}"),
        };
        assert_eq!(number(b"K\xff."), 255);
        assert_eq!(number(b"M\x01\x02."), 513);
        assert_eq!(number(b"J\xfe\xff\xff\xff."), -2);
        assert_eq!(number(b"\x8a\x02\xff\x00."), 255);
        assert_eq!(number(b"\x8a\x01\xff."), -1);
    }

    #[test]
    fn broken_pickles_are_refused() {
        for bytes in [&b""[..], b".", b"K", b"X\xff\xff\xff\xff", b"t.", b"h\x00.", b"R.", b"\xfe.", b"cos"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}

//! As much of protobuf's wire format as a dozen fields of etcd need.
//!
//! Rejected: generated code. It needs a compiler for `.proto` files on every machine that builds this,
//! for one protocol that is only ever a yardstick. What is here is exercised against a real etcd by
//! `cargo xtask bench locks`.

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// With a number; 0 is left out, as the format has it.
    #[must_use]
    pub(super) fn int(mut self, field: u64, value: u64) -> Self {
        if value != 0 {
            self.varint(field << 3 | VARINT);
            self.varint(value);
        }
        self
    }

    /// With bytes or text.
    #[must_use]
    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// With a message inside.
    #[must_use]
    pub(super) fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }
}

/// The last number with this field's number; `None` if there is none or the message is broken.
pub(super) fn int(message: &[u8], field: u64) -> Option<u64> {
    fields(message).filter(|(number, _)| *number == field).last().and_then(|(_, value)| match value
    {
        Value::Int(value) => Some(value),
        Value::Bytes(_) => None,
    })
}

/// All bytes, texts and messages with this field's number.
pub(super) fn bytes(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).filter(move |(number, _)| *number == field).filter_map(|(_, value)| match value
    {
        Value::Int(_) => None,
        Value::Bytes(bytes) => Some(bytes),
    })
}

enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
}

/// All fields up to the end, or to the first one that cannot be read.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = take_varint(&mut rest)?;
        let value = match key & 7 {
            VARINT => Value::Int(take_varint(&mut rest)?),
            BYTES => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                let (bytes, left) = rest.split_at_checked(length)?;
                rest = left;
                Value::Bytes(bytes)
            }
            // Fixed-length numbers and groups: in none of the messages read here.
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_are_written_as_the_format_says() {
        // The examples of protobuf's own description of its encoding.
        assert_eq!(Message::default().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::default().bytes(2, b"testing").into_bytes();
        assert_eq!(text, b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        let outer = Message::default().message(3, &inner).into_bytes();
        assert_eq!(outer, [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }

    #[test]
    fn what_was_written_is_read_back_and_what_is_broken_ends() {
        let written = Message::default()
            .int(1, u64::MAX)
            .bytes(2, b"a")
            .bytes(2, b"")
            .int(3, 0)
            .int(4, 1)
            .into_bytes();
        assert_eq!(int(&written, 1), Some(u64::MAX));
        assert_eq!(bytes(&written, 2).collect::<Vec<_>>(), [b"a".as_slice(), b""]);
        assert_eq!((int(&written, 3), int(&written, 4)), (None, Some(1)));
        for cut in 0..written.len() {
            let _ = bytes(&written[..cut], 2).count();
        }
        assert_eq!(int(&[0xff; 11], 1), None);
        assert_eq!(bytes(b"\x12\x08testing", 2).count(), 0);
    }
}

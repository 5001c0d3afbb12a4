//! Whether a JSON text can be read by everybody.
//!
//! Problem: what is kept as it was written is checked by a reader that skips values, and such a reader
//! takes more than one that keeps them: numbers beyond every range, half a surrogate, nesting without
//! end. A worker whose reader stumbles over one message would lose the whole answer that it came in, again
//! and again. So the text is read once as its workers will read it, and nothing of it is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting. Readers stop at 128, and an answer adds its own.
const DEPTH_MAX: u32 = 100;

/// Reads a JSON text to its end.
pub(super) fn check(text: &str) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Sound { left: DEPTH_MAX }.deserialize(&mut reader)?;
    reader.end()
}

/// Takes any value.
#[derive(Clone, Copy)]
struct Sound {
    /// How much deeper it may be nested.
    left: u32,
}

impl Sound {
    fn within<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        left.map(|left| Self { left }).ok_or_else(|| E::custom("it is nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while list.next_element_seed(within)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while map.next_key_seed(within)?.is_some() {
            map.next_value_seed(within)?;
        }
        Ok(())
    }
}

//! What is in a JSON body: each field by its name, and for everything wrong the name of the field.
//!
//! Problem: a caller has to be told *which* field is wrong, whatever is wrong with it: missing, of
//! another type, out of range, unknown, given twice. Rejected: deriving deserialisers, whose errors
//! name a line and a column, and the field only sometimes.
//!
//! Only what a field may be is kept while parsing, down to the depth at which fields may be, and at
//! most [`VALUES_MAX`] of them. Keeping a whole tree would let a megabyte of brackets become many
//! megabytes of values.
//!
//! `/v1` is strict: a field that it does not know is refused, since `wiat: "30s"` would otherwise be a
//! request that does not wait. The original routes ignore what they do not know, as they always did.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use dsync_core::locks::HoldId;
use dsync_core::types::Index;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use serde_json::value::RawValue;

use super::problem::Fault;
use super::sound_json;
use crate::config::duration_ms;

/// The largest integer that every JSON reader keeps exactly.
pub const EXACT_INTEGER_MAX: u64 = (1 << 53) - 1;
/// Most values of a strict body. An owner's holds, all named in one renew-all, fit.
pub const VALUES_MAX: usize = 16_384;
/// Most values of a push: a thousand messages with all fields, and headers, fit.
pub const PUSH_VALUES_MAX: usize = 65_536;
/// Fields of objects in lists are looked at; what is deeper is nobody's field.
const STRICT_DEPTH: u8 = 3;
/// Of a push: headers are objects in objects in a list.
const PUSH_DEPTH: u8 = 4;
/// Its messages are this deep: the body itself is at 0, the list at 1.
const ITEM_DEPTH: u8 = 2;

/// The fields of a JSON object.
#[derive(Debug)]
pub struct Fields {
    values: BTreeMap<String, Given>,
    /// Where it stands in the body: empty, or like `locks[2]`.
    place: String,
}

/// What a field may be. `Other` stands for everything that no field may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Null,
    Truth(bool),
    Integer(u64),
    Text(String),
    List(Vec<Given>),
    Object(BTreeMap<String, Given>),
    /// Any JSON, as it was written.
    Kept(Box<str>),
    Other,
}

impl Fields {
    /// Parses a body. Fields that nobody asks for are ignored: clients of the original routes may
    /// have sent others for years.
    ///
    /// # Errors
    /// If it is not one JSON object in UTF-8.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let book = Book { depth_max: 1, ..Book::default() };
        read(body, &book)
    }

    /// Parses a body that may have the `known` fields and no others, each once.
    ///
    /// # Errors
    /// If it is not one JSON object in UTF-8, or has other fields.
    pub fn strict(body: &[u8], known: &[&str]) -> Result<Self, Fault> {
        let book =
            Book { depth_max: STRICT_DEPTH, values_max: Some(VALUES_MAX), ..Book::default() };
        Self::known_once(read(body, &book)?, &book, known)
    }

    fn known_once(self, book: &Book, known: &[&str]) -> Result<Self, Fault> {
        if let Some(field) = book.twice.take() {
            return Err(Fault::field(&field, format!("{field} is given twice")));
        }
        self.allow(known)?;
        Ok(self)
    }

    /// As [`Fields::parse`]; the field `kept` may be any JSON, and is kept as it is written.
    ///
    /// # Errors
    /// If it is not one JSON object in UTF-8.
    pub fn parse_keeping(body: &[u8], kept: &'static str) -> Result<Self, Fault> {
        read(body, &Book { depth_max: 1, kept: Some((kept, 0)), ..Book::default() })
    }

    /// As [`Fields::strict`], of a body with many objects in whose fields `kept` any JSON may stand, which
    /// is kept as it is written.
    ///
    /// # Errors
    /// If it is not one JSON object in UTF-8, or has other fields.
    pub fn strict_keeping(body: &[u8], known: &[&str], kept: &'static str) -> Result<Self, Fault> {
        let values_max = Some(PUSH_VALUES_MAX);
        let kept = Some((kept, ITEM_DEPTH));
        let book = Book { depth_max: PUSH_DEPTH, values_max, kept, ..Book::default() };
        Self::known_once(read(body, &book)?, &book, known)
    }

    /// A name: 1 to `bytes_max` bytes, no control characters.
    ///
    /// # Errors
    /// If the field is missing or anything else.
    pub fn name(&self, field: &str, bytes_max: usize) -> Result<String, Fault> {
        let text = self.text(field)?;
        check_name(text, bytes_max).map_err(|reason| self.wrong(field, &reason))?;
        Ok(text.to_owned())
    }

    /// As [`Fields::name`]; `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn name_or_none(&self, field: &str, bytes_max: usize) -> Result<Option<String>, Fault> {
        if self.has(field) { self.name(field, bytes_max).map(Some) } else { Ok(None) }
    }

    /// Any text of at most `bytes_max` bytes, or none. `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn text_up_to(&self, field: &str, bytes_max: usize) -> Result<Option<&str>, Fault> {
        if !self.has(field) {
            return Ok(None);
        }
        let text = self.text(field)?;
        match text.len() <= bytes_max {
            true => Ok(Some(text)),
            false => Err(self.wrong(field, &format!("must not be longer than {bytes_max} bytes"))),
        }
    }

    /// Any JSON but null, as it was written. `None` if it is absent or null.
    ///
    /// # Errors
    /// If a reader could stumble over it: it is nested too deeply, or has a number or a text that is none.
    pub fn kept_json(&self, field: &str) -> Result<Option<&str>, Fault> {
        let Some(Given::Kept(text)) = self.given(field) else { return Ok(None) };
        match sound_json::check(text) {
            Ok(()) => Ok(Some(text)),
            Err(error) => Err(self.wrong(field, &format!("cannot be read by everybody: {error}"))),
        }
    }

    /// An object whose members are texts, by their names; empty if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn texts_by_name(&self, field: &str) -> Result<Vec<(String, String)>, Fault> {
        let members = match self.given(field) {
            None => return Ok(Vec::new()),
            Some(Given::Object(members)) => members,
            Some(_) => return Err(self.wrong(field, "must be an object of texts")),
        };
        let text = |(name, given): (&String, &Given)| match given {
            Given::Text(text) => Ok((name.clone(), text.clone())),
            _ => Err(self.wrong(&format!("{field}.{}", shown(name)), "must be a text")),
        };
        members.iter().map(text).collect()
    }

    /// An object that may have the `known` fields and no others. `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn object(&self, field: &str, known: &[&str]) -> Result<Option<Self>, Fault> {
        match self.given(field) {
            None => Ok(None),
            Some(Given::Object(values)) => {
                let fields = Self { values: values.clone(), place: self.path(field) };
                fields.allow(known).map(|()| Some(fields))
            }
            Some(_) => Err(self.wrong(field, "must be an object")),
        }
    }

    /// A list of 1 to `max` texts that `parse` takes. `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn list_of<T>(
        &self,
        field: &str,
        max: usize,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Fault> {
        let Some(list) = self.list(field, max)? else { return Ok(None) };
        if list.is_empty() {
            return Err(self.wrong(field, "must not be empty"));
        }
        let one = |(at, given): (usize, &Given)| {
            let value = if let Given::Text(text) = given { parse(text) } else { None };
            value.ok_or_else(|| self.wrong(&format!("{field}[{at}]"), form))
        };
        list.iter().enumerate().map(one).collect::<Result<_, _>>().map(Some)
    }

    /// One of a few words.
    ///
    /// # Errors
    /// If the field is missing or anything else.
    pub fn choice<T: Copy>(&self, field: &str, words: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.text(field)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(field, &format!("must be {}", words.join(" or ")))
        })
    }

    /// As [`Fields::choice`]; `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn choice_or_none<T: Copy>(
        &self,
        field: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        if self.given(field).is_none() { Ok(None) } else { self.choice(field, words).map(Some) }
    }

    /// A length of time in milliseconds: an integer, or a text like `30s`. `None` if it is absent or
    /// null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn duration_ms(&self, field: &str) -> Result<Option<u64>, Fault> {
        let ms = match self.given(field) {
            None => return Ok(None),
            Some(Given::Integer(ms)) => Some(*ms),
            Some(Given::Text(text)) => duration_ms(text),
            Some(_) => None,
        };
        match ms.filter(|ms| *ms <= EXACT_INTEGER_MAX) {
            Some(ms) => Ok(Some(ms)),
            None => Err(self.wrong(field, &format!("must be {DURATION_FORM}"))),
        }
    }

    /// As [`Fields::duration_ms`], at most `max_ms`.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn duration_up_to(&self, field: &str, max_ms: u64) -> Result<Option<u64>, Fault> {
        let ms = self.duration_ms(field)?;
        match ms.is_none_or(|ms| ms <= max_ms) {
            true => Ok(ms),
            false => Err(self.wrong(field, &format!("must not be longer than {max_ms} ms"))),
        }
    }

    /// A lease in milliseconds: 0, which is none, or from `min_ms` to `max_ms`. Who asks for less mostly
    /// means another unit, so the refusal says which one was read.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn lease_ms(&self, field: &str, min_ms: u64, max_ms: u64) -> Result<Option<u64>, Fault> {
        let ms = self.duration_up_to(field, max_ms)?;
        let Some(short) = ms.filter(|ms| (1..min_ms).contains(ms)) else { return Ok(ms) };
        let unit = match self.given(field) {
            Some(Given::Integer(n)) => {
                format!("{n} was read as milliseconds; {n} seconds are \"{n}s\"; ")
            }
            _ => format!("it was read as {short} ms; "),
        };
        Err(self.wrong(
            field,
            &format!("is too short: {unit}the shortest lease is {min_ms} ms (lease_ms_min), and 0 is none"),
        ))
    }

    /// An integer. `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else, or out of range.
    pub fn integer(&self, field: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
        match self.given(field) {
            None => Ok(None),
            Some(Given::Integer(value)) if range.contains(value) => Ok(Some(*value)),
            Some(_) => {
                let (start, end) = range.into_inner();
                Err(self.wrong(field, &format!("must be an integer from {start} to {end}")))
            }
        }
    }

    /// True or false. `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn truth(&self, field: &str) -> Result<Option<bool>, Fault> {
        match self.given(field) {
            None => Ok(None),
            Some(Given::Truth(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(field, "must be true or false")),
        }
    }

    /// A hold's id. `None` if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn hold_or_none(&self, field: &str) -> Result<Option<HoldId>, Fault> {
        match self.given(field) {
            None => Ok(None),
            Some(Given::Text(text)) => match parse_hold(text) {
                Some(hold) => Ok(Some(hold)),
                None => Err(self.wrong(field, HOLD_FORM)),
            },
            Some(_) => Err(self.wrong(field, HOLD_FORM)),
        }
    }

    /// A hold's id.
    ///
    /// # Errors
    /// If the field is missing or anything else.
    pub fn hold(&self, field: &str) -> Result<HoldId, Fault> {
        self.hold_or_none(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// A list of hold ids, at most `max`; empty if it is absent or null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn holds(&self, field: &str, max: usize) -> Result<Vec<HoldId>, Fault> {
        let holds = self.list(field, max)?.unwrap_or_default().iter().enumerate();
        let hold = |(at, given): (usize, &Given)| {
            let hold = if let Given::Text(text) = given { parse_hold(text) } else { None };
            hold.ok_or_else(|| self.wrong(&format!("{field}[{at}]"), HOLD_FORM))
        };
        holds.map(hold).collect()
    }

    /// A list of 1 to `max` objects that may have the `known` fields and no others.
    ///
    /// # Errors
    /// If the field is missing or anything else.
    pub fn objects(&self, field: &str, max: usize, known: &[&str]) -> Result<Vec<Self>, Fault> {
        let list = self.list(field, max)?.ok_or_else(|| self.wrong(field, "is missing"))?;
        if list.is_empty() {
            return Err(self.wrong(field, "must not be empty"));
        }
        let object = |(at, given): (usize, &Given)| {
            let place = self.path(&format!("{field}[{at}]"));
            let Given::Object(values) = given else {
                return Err(Fault::field(&place, format!("{place} must be an object")));
            };
            let fields = Self { values: values.clone(), place };
            fields.allow(known).map(|()| fields)
        };
        list.iter().enumerate().map(object).collect()
    }

    /// What to answer if this field is wrong; `reason` goes on after its name.
    #[must_use]
    pub fn wrong(&self, field: &str, reason: &str) -> Fault {
        let path = self.path(field);
        Fault::field(&path, format!("{path} {reason}"))
    }

    /// True if it is there and not null.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.given(field).is_some()
    }

    fn list(&self, field: &str, max: usize) -> Result<Option<&[Given]>, Fault> {
        match self.given(field) {
            None => Ok(None),
            Some(Given::List(list)) if list.len() <= max => Ok(Some(list)),
            Some(Given::List(_)) => {
                Err(self.wrong(field, &format!("must not have more than {max} elements")))
            }
            Some(_) => Err(self.wrong(field, "must be a list")),
        }
    }

    fn text(&self, field: &str) -> Result<&str, Fault> {
        match self.values.get(field) {
            None => Err(self.wrong(field, "is missing")),
            Some(Given::Text(text)) => Ok(text),
            Some(_) => Err(self.wrong(field, "must be a text")),
        }
    }

    fn given(&self, field: &str) -> Option<&Given> {
        self.values.get(field).filter(|given| **given != Given::Null)
    }

    fn allow(&self, known: &[&str]) -> Result<(), Fault> {
        match self.values.keys().find(|field| !known.contains(&field.as_str())) {
            None => Ok(()),
            Some(field) => {
                let reason = format!("is not known here; there are {}", known.join(", "));
                Err(self.wrong(&shown(field), &reason))
            }
        }
    }

    fn path(&self, field: &str) -> String {
        if self.place.is_empty() { field.to_owned() } else { format!("{}.{field}", self.place) }
    }
}

/// Says what is wrong with a name: of a lock, of an owner.
///
/// # Errors
/// With the end of a sentence that begins with what the name is called.
pub fn check_name(name: &str, bytes_max: usize) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.len() > bytes_max {
        return Err(format!("must not be longer than {bytes_max} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// How a length of time is written.
pub const DURATION_FORM: &str =
    "an integer of milliseconds or a text like 500ms, 1.5s, 30s, 5m, 1h30m or 1d";

const HOLD_FORM: &str = "must be a hold's id, like 812-0";

/// A hold's name as clients see it.
#[must_use]
pub fn hold_id(hold: HoldId) -> String {
    format!("{}-{}", hold.index, hold.position)
}

/// Back from that; one hold has one writing.
fn parse_hold(text: &str) -> Option<HoldId> {
    let (index, position) = text.split_once('-')?;
    let hold = HoldId { index: Index(index.parse().ok()?), position: position.parse().ok()? };
    (hold_id(hold) == text).then_some(hold)
}

/// The name of a field that somebody has invented: of any length, or none.
#[must_use]
pub fn shown(field: &str) -> String {
    const CHARS_MAX: usize = 64;
    if field.is_empty() {
        return "(without a name)".to_owned();
    }
    let clean = field.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    match field.chars().count() > CHARS_MAX {
        true => clean.take(CHARS_MAX).chain("...".chars()).collect(),
        false => clean.collect(),
    }
}

fn read(body: &[u8], book: &Book) -> Result<Fields, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Fault::malformed(format!("the body is not UTF-8 from byte {}", error.valid_up_to()))
    })?;
    let not_an_object = |error| Fault::malformed(format!("the body is not a JSON object: {error}"));
    let mut reader = serde_json::Deserializer::from_str(text);
    let given = Place { book, depth: 0, path: "" }.deserialize(&mut reader);
    let given = given.and_then(|given| reader.end().map(|()| given)).map_err(not_an_object)?;
    match given {
        Given::Object(values) => Ok(Fields { values, place: String::new() }),
        _ => Err(Fault::malformed("the body is not a JSON object")),
    }
}

/// What is noted while a body is read.
#[derive(Debug, Default)]
struct Book {
    /// Objects and lists this deep are looked into; the body itself is at depth 0.
    depth_max: u8,
    values: Cell<usize>,
    values_max: Option<usize>,
    /// What stands under this name, in objects this deep, is kept as it is written.
    kept: Option<(&'static str, u8)>,
    /// The first field that was given twice.
    twice: RefCell<Option<String>>,
}

/// Where in the body a value stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    book: &'a Book,
    depth: u8,
    path: &'a str,
}

impl<'a> Place<'a> {
    fn within(self, path: &'a str) -> Self {
        Self { depth: self.depth + 1, path, ..self }
    }

    fn is_too_deep(self) -> bool {
        self.depth >= self.book.depth_max
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Given;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given, D::Error> {
        let values = self.book.values.get() + 1;
        self.book.values.set(values);
        if self.book.values_max.is_some_and(|max| values > max) {
            return Err(D::Error::custom("it has too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Given::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Given::Truth(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Integer(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(u64::try_from(value).map_or(Given::Other, Given::Integer))
    }

    /// JSON has one kind of numbers: `2.0` is the integer 2, and some writers have no other form for it.
    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(whole(value).map_or(Given::Other, Given::Integer))
    }

    fn visit_str<E>(self, value: &str) -> Result<Given, E> {
        Ok(Given::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Given, E> {
        Ok(Given::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given, A::Error> {
        if self.is_too_deep() {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Given::Other);
        }
        let mut elements = Vec::new();
        loop {
            let place = format!("{}[{}].", self.path.trim_end_matches('.'), elements.len());
            match list.next_element_seed(self.within(&place))? {
                Some(element) => elements.push(element),
                None => return Ok(Given::List(elements)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        if self.is_too_deep() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Given::Other);
        }
        let mut values = BTreeMap::new();
        while let Some(field) = map.next_key::<String>()? {
            let place = format!("{}{field}", self.path);
            let given = match self.book.kept == Some((field.as_str(), self.depth)) {
                true => kept(map.next_value()?),
                false => map.next_value_seed(self.within(&place))?,
            };
            if values.insert(field, given).is_some() {
                self.book.twice.borrow_mut().get_or_insert_with(|| shown(&place));
            }
        }
        Ok(Given::Object(values))
    }
}

/// A null is no value, however it is read.
fn kept(raw: Box<RawValue>) -> Given {
    if raw.get() == "null" { Given::Null } else { Given::Kept(raw.into()) }
}

/// The integer that a number is, if it is one that every JSON reader keeps exactly.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> Option<u64> {
    let exact = value.fract() == 0.0 && (0.0..=EXACT_INTEGER_MAX as f64).contains(&value);
    exact.then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_an_integer_however_it_is_written() {
        assert_eq!([0.0, 2.0, 1e3].map(whole), [Some(0), Some(2), Some(1000)]);
        assert_eq!([0.5, -1.0, 1e300, f64::NAN].map(whole), [None; 4]);
        assert_eq!(whole(9_007_199_254_740_992.0), None);
    }

    #[test]
    fn a_hold_has_one_writing() {
        let hold = HoldId { index: Index(812), position: 3 };
        assert_eq!(parse_hold(&hold_id(hold)), Some(hold));
        for text in ["", "812", "812-", "-3", "0812-3", "812-03", "+812-3", "812-3 ", "812.3"] {
            assert_eq!(parse_hold(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_that_is_given_twice_or_is_not_known_is_named_wherever_it_stands() {
        for (body, named) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"b":1}"#, "b"),
            (r#"{"a":[{"c":1},{"c":1,"c":2}]}"#, "a[1].c"),
        ] {
            let fault = Fields::strict(body.as_bytes(), &["a"]).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(named), "{body}");
        }
        let fields = Fields::strict(br#"{"a":[{"c":1},{"d":1}]}"#, &["a"]).unwrap();
        let fault = fields.objects("a", 9, &["c"]).unwrap_err();
        assert_eq!(fault.field.as_deref(), Some("a[1].d"));
    }

    #[test]
    fn a_value_that_is_kept_is_kept_as_it_is_written_and_can_be_read_by_everybody() {
        let kept = |value: &str| {
            let body = format!(r#"{{"a":{value}}}"#);
            let fields = Fields::parse_keeping(body.as_bytes(), "a")?;
            fields.kept_json("a").map(|text| text.map(str::to_owned))
        };
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for value in
            ["0", "false", r#""""#, r#"{"b": [1.50, 12345678901234567890123]}"#, &deep(100)]
        {
            assert_eq!(kept(value), Ok(Some(value.to_owned())));
        }
        assert_eq!(kept("null"), Ok(None));
        for value in ["1e999", r#""\ud800""#, &deep(101), &deep(100_000)] {
            let fault = kept(value).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some("a"), "{}", fault.detail);
        }
        assert!(kept("[").is_err());
    }

    #[test]
    fn a_strict_body_has_a_bounded_number_of_values() {
        let body = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(VALUES_MAX));
        assert!(Fields::strict(body.as_bytes(), &["a"]).unwrap_err().detail.contains("too many"));
        assert!(Fields::parse(body.as_bytes()).is_ok());
    }
}

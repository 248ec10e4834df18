//! The arguments of a call on their way in, unmarshalled one by one in the order of declaration.

use serde::Deserialize;

use super::reader::Reader;
use super::{Fault, Guard, Payload};
use crate::error::{Code, Error, Executed};
use crate::memory::Reserve;

/// The arguments of a request, still marshalled; [`next`](Self::next) unmarshals them in order.
///
/// `&str` and `&[u8]` are borrowed from the request in place. Together with the last declared argument, what
/// follows it is checked: surplus arguments, which a newer caller may send, must be well-formed and are skipped.
///
/// Every error has the code [`Code::InvalidArgument`] and [`Executed::No`], and names the argument, what was
/// expected and what came.
#[derive(Debug)]
pub struct Arguments<'a> {
    reader: Reader<'a>,
    /// The declared arguments' names.
    names: &'static [&'static str],
    /// How many of the declared ones were asked for.
    taken: u32,
    /// How many elements of the array are left.
    left: u32,
}

impl<'a> Arguments<'a> {
    /// The arguments in `params`, a MessagePack array, for a method that declares `names`.
    ///
    /// # Errors
    /// If `params` is not an array; and if nothing is declared, what [`next`](Self::next) would find after the
    /// last argument.
    #[inline]
    pub(crate) fn new(
        params: &'a Payload,
        names: &'static [&'static str],
        guard: Guard,
        reserve: Reserve<'a>,
    ) -> Result<Self, Error> {
        Self::of(params.body(), params.source(), names, guard, reserve)
    }

    #[inline]
    fn of(
        params: &'a [u8],
        source: Option<&'a Payload>,
        names: &'static [&'static str],
        guard: Guard,
        reserve: Reserve<'a>,
    ) -> Result<Self, Error> {
        // Until nothing can fail any more there is only a slice: what is made of it is then written where it stays,
        // not copied there.
        let (left, rest) = match params {
            [head @ 0x90..=0x9f, rest @ ..] if usize::from(head & 0x0f) <= rest.len() => {
                (u32::from(head & 0x0f), rest)
            }
            _ => Self::long_head(params, guard)?,
        };
        if names.is_empty() {
            Arguments { reader: Reader::after(params, rest, source, guard), names, taken: 0, left }.end()?;
        }
        let reader = Reader::after(params, rest, source, guard).with_reserve(reserve);
        Ok(Arguments { reader, names, taken: 0, left })
    }

    /// How many arguments there are and where they begin, if there are many, or none and why.
    #[cold]
    fn long_head(params: &'a [u8], guard: Guard) -> Result<(u32, &'a [u8]), Error> {
        let mut reader = Reader::new(params, guard);
        // No array says that it has more than a u32.
        let left = reader.array().map_err(no_arguments)? as u32;
        Ok((left, reader.rest()))
    }

    /// The next argument.
    ///
    /// # Errors
    /// If it is missing, or not a `T`; for the last declared argument also if what follows is not well-formed.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is generic over what comes, which an iterator is not"
    )]
    #[inline]
    pub fn next<T: Deserialize<'a>>(&mut self) -> Result<T, Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| self.missing())?;
        let value = self.reader.value().map_err(|fault| self.wrong(fault))?;
        self.advance()?;
        Ok(value)
    }

    /// The next argument, or its type's default if the caller sent fewer.
    ///
    /// # Errors
    /// As [`next`](Self::next), except that a missing argument is none.
    #[inline]
    pub fn next_or_default<T: Deserialize<'a> + Default>(&mut self) -> Result<T, Error> {
        if self.left > 0 {
            return self.next();
        }
        self.advance()?;
        Ok(T::default())
    }

    #[inline]
    fn advance(&mut self) -> Result<(), Error> {
        self.taken += 1;
        if self.taken as usize == self.names.len() { self.end() } else { Ok(()) }
    }

    /// Checks what follows the last declared argument.
    #[inline]
    fn end(&mut self) -> Result<(), Error> {
        if self.left == 0 && self.reader.is_at_end() { Ok(()) } else { self.surplus() }
    }

    #[cold]
    fn surplus(&mut self) -> Result<(), Error> {
        while self.left > 0 {
            self.left -= 1;
            self.reader.skip().map_err(|fault| invalid(format!("a surplus argument: {fault}")))?;
        }
        self.reader.end().map_err(no_arguments)
    }

    #[cold]
    fn wrong(&self, fault: Fault) -> Error {
        if fault.is_no_room() {
            let message = format!("{}{fault}", self.place());
            return Error::not_executed(Code::ResourceExhausted, message);
        }
        invalid(format!("{}{fault}", self.place()))
    }

    #[cold]
    fn missing(&self) -> Error {
        let place = self.place();
        invalid(format!("{} is missing", place.trim_end_matches(": ")))
    }

    fn place(&self) -> String {
        let name = self.names.get(self.taken as usize).copied().unwrap_or("?");
        format!("argument `{name}` ({} of {}): ", self.taken + 1, self.names.len())
    }
}

#[cold]
fn no_arguments(fault: Fault) -> Error {
    invalid(format!("the arguments: {fault}"))
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidArgument, message).with_executed(Executed::No)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use serde::{Deserialize, Serialize};

    use super::super::Shape;
    use super::super::argument_list::sealed::Marshal;
    use super::*;
    use crate::memory::{Caller, Charge, Held, Memory, MemoryUse};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: i32,
        y: i32,
    }

    /// What a call holds without a connection.
    fn reserve() -> Reserve<'static> {
        // Nothing here takes any of it, so that all may have the same.
        static HELD: LazyLock<Held> = LazyLock::new(Held::default);
        Reserve::new(&HELD, Guard::default().reserve(), Caller::NOBODY)
    }

    fn params(list: impl Marshal) -> Payload {
        list.marshal(Shape::Named).unwrap()
    }

    fn arguments<'a>(params: &'a [u8], names: &'static [&'static str]) -> Result<Arguments<'a>, Error> {
        Arguments::of(params, None, names, Guard::default(), reserve())
    }

    /// What the last of two arguments, an `i64`, is refused with.
    fn refusal(params: &[u8]) -> String {
        let mut arguments = arguments(params, &["a", "b"]).unwrap();
        assert_eq!(arguments.next::<i64>().unwrap(), 1);
        let error = arguments.next::<i64>().unwrap_err();
        assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
        error.message().to_owned()
    }

    #[test]
    fn arguments_arrive_in_order_and_borrow() {
        let params = params((1i64, "two", &b"three"[..], vec![Point { x: 4, y: -5 }]));
        let mut arguments = arguments(&params, &["a", "b", "c", "d"]).unwrap();
        assert_eq!(arguments.next::<i64>().unwrap(), 1);
        let text: &str = arguments.next().unwrap();
        let bytes: &[u8] = arguments.next().unwrap();
        assert_eq!((text, bytes), ("two", &b"three"[..]));
        assert!(params.as_slice().as_ptr_range().contains(&text.as_ptr()));
        assert_eq!(arguments.next::<Vec<Point>>().unwrap(), [Point { x: 4, y: -5 }]);
    }

    #[test]
    fn no_arguments_are_an_empty_array() {
        assert_eq!(params(()).as_slice(), [0x90]);
        assert!(arguments(&[0x90], &[]).is_ok());
        // What a newer caller sends beyond is checked at once, since nothing will be asked for.
        assert!(arguments(&[0x91, 0x01], &[]).is_ok());
        assert!(arguments(&[0x91, 0xc1], &[]).is_err());
        assert!(arguments(&[0x90, 0x01], &[]).is_err());
        assert_eq!(params(((),)).as_slice(), [0x91, 0xc0]);
        assert_eq!(params((7,)).as_slice(), [0x91, 7]);
    }

    #[test]
    fn params_must_be_an_array() {
        for wrong in [&[0xc0][..], &[0x80], &[0x01], &[0xa1, b'x'], &[]] {
            let error = arguments(wrong, &["a"]).unwrap_err();
            assert_eq!((error.code(), error.executed()), (Code::InvalidArgument, Executed::No));
        }
        let error = arguments(&[0x80], &["a"]).unwrap_err();
        assert_eq!(error.message(), "the arguments: expected an array, got a map");
    }

    #[test]
    fn case_39_a_trailing_byte_is_refused() {
        assert_eq!(refusal(&[0x92, 1, 2, 0]), "the arguments: expected the end, got 1 byte more");
    }

    #[test]
    fn case_42_an_integer_out_of_range_is_refused() {
        let message = refusal(&[0x92, 1, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(message, "argument `b` (2 of 2): expected i64, got the integer 18446744073709551615");
    }

    #[test]
    fn case_44_a_missing_argument_is_refused_by_name() {
        assert_eq!(refusal(&[0x91, 1]), "argument `b` (2 of 2) is missing");
    }

    #[test]
    fn case_44_surplus_arguments_are_checked_and_ignored() {
        let mut read = arguments(&[0x94, 1, 0x81, 0xa1, b'x', 0x92, 2, 3, 0xc0, 4], &["a"]).unwrap();
        assert_eq!(read.next::<i64>().unwrap(), 1);
        for wrong in [&[0x92, 1][..], &[0x92, 1, 0xc1], &[0x92, 1, 0xa1, 0xff], &[0x92, 1, 0x91]] {
            let read = arguments(wrong, &["a"]).and_then(|mut read| read.next::<i64>());
            assert!(read.is_err(), "{wrong:?}");
        }
        let deep = [&[0x92, 1][..], &[0x91].repeat(100_000)].concat();
        let error = arguments(&deep, &["a"]).unwrap().next::<i64>().unwrap_err();
        assert_eq!(error.message(), "a surplus argument: the value is nested too deeply");
    }

    #[test]
    fn case_44_a_missing_argument_may_have_a_default() {
        let mut read = arguments(&[0x91, 1], &["a", "b", "c"]).unwrap();
        assert_eq!(read.next::<i64>().unwrap(), 1);
        assert_eq!(read.next_or_default::<String>().unwrap(), "");
        assert_eq!(read.next_or_default::<Option<u8>>().unwrap(), None);
        let mut read = arguments(&[0x91, 0xc3], &["a"]).unwrap();
        assert!(read.next_or_default::<u8>().is_err(), "what is there must be right");
    }

    #[test]
    fn case_47_what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            refusal(&[0x92, 1, 0xa1, b'x']),
            "argument `b` (2 of 2): expected i64, got the string \"x\""
        );
        assert_eq!(refusal(&[0x92, 1, 0xc1]), "argument `b` (2 of 2): byte 0xc1 is not MessagePack");
        let list = params((BTreeMap::from([("points", [(1, "x")])]),));
        let error =
            arguments(&list, &["map"]).unwrap().next::<BTreeMap<String, Vec<(i32, i32)>>>().unwrap_err();
        assert_eq!(
            error.message(),
            "argument `map` (1 of 1): at `points[0][1]`: expected i32, got the string \"x\""
        );
    }

    #[test]
    fn sixteen_arguments_fit() {
        let list = params((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        let names = &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
        let mut arguments = arguments(&list, names).unwrap();
        for expected in 0..16 {
            assert_eq!(arguments.next::<u8>().unwrap(), expected);
        }
    }

    #[test]
    fn arguments_may_cross_threads_and_are_small() {
        fn is_send<T: Send>() {}
        is_send::<Arguments<'_>>();
        assert!(size_of::<Arguments<'_>>() <= 96, "{}", size_of::<Arguments<'_>>());
    }

    /// A list of empty maps, each a struct of 416 bytes made of its default.
    fn defaults(count: usize) -> Vec<u8> {
        [&[0x91, 0xdd][..], &(count as u32).to_be_bytes(), &vec![0x80; count]].concat()
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Defaults {
        _numbers: ([u64; 26], [u64; 26]),
    }

    fn taken(bytes: &[u8], room: usize, guard: Guard) -> (Result<usize, Error>, usize) {
        let memory = Memory::new(room);
        let mut held = Held::default();
        held.hold(Charge::new(memory.clone()));
        let reserve = Reserve::new(&held, guard.reserve(), Caller::NOBODY);
        let mut arguments = Arguments::of(bytes, None, &["items"], guard, reserve).unwrap();
        let count = arguments.next::<Vec<Defaults>>().map(|items| items.len());
        let took = MemoryUse(memory.clone()).bytes();
        drop(held);
        assert_eq!(MemoryUse(memory).bytes(), 0);
        (count, took)
    }

    #[test]
    #[cfg_attr(miri, ignore = "it takes thousands of elements, for which Miri is too slow")]
    fn case_90_values_larger_than_their_message_take_room_and_small_ones_none() {
        let (count, took) = taken(&defaults(9), 0, Guard::default());
        assert_eq!((count.unwrap(), took), (9, 0));
        let (count, took) = taken(&defaults(10_000), 64 << 20, Guard::default());
        assert_eq!(count.unwrap(), 10_000);
        let expected = 10_000 * 416 - 10_006 - 4 * 1_024;
        assert!((expected..expected + 64 * 1_024).contains(&took), "{took} bytes");
        let (refused, took) = taken(&defaults(10_000), 1 << 20, Guard::default());
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.executed()), (Code::ResourceExhausted, Executed::No));
        assert!(refused.message().starts_with("argument `items` (1 of 1): "), "{refused}");
        assert!(took <= 1 << 20);
        // What is too much for a message of its size is so however much room there is.
        let (refused, took) = taken(&defaults(100_000), 64 << 20, Guard::default());
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        assert!(took <= 16 << 20);
        // Of a budget that is little nothing is taken from others.
        let little = Guard::default().with_budget(1_000);
        assert_eq!(taken(&defaults(3), 0, little).0.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(taken(&defaults(2), 0, little).0.unwrap(), 2);
    }

    /// Takes bytes, and no list of numbers.
    #[derive(Debug)]
    struct OnlyBytes;

    impl<'de> Deserialize<'de> for OnlyBytes {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl serde::de::Visitor<'_> for Visitor {
                type Value = OnlyBytes;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E>(self, _: &[u8]) -> Result<OnlyBytes, E> {
                    Ok(OnlyBytes)
                }
            }
            deserializer.deserialize_bytes(Visitor)
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Only { _data: OnlyBytes },
    }

    #[test]
    #[cfg_attr(miri, ignore = "it takes thousands of elements, for which Miri is too slow")]
    fn what_was_taken_is_there_for_a_second_attempt() {
        // What serde keeps for later is guessed to be a list, which is wrong here, and read once more as bytes.
        let list = &defaults(10_000)[1..];
        let kept = [&[0x81, 0xa5][..], b"_data", &[0xc4, 1, 7]].concat();
        let bytes = [&[0x91, 0x92][..], list, &kept].concat();
        let memory = Memory::new(usize::MAX);
        let mut held = Held::default();
        held.hold(Charge::new(memory.clone()));
        let reserve = Reserve::new(&held, Guard::default().reserve(), Caller::NOBODY);
        let mut arguments = Arguments::of(&bytes, None, &["both"], Guard::default(), reserve).unwrap();
        let (items, Kept::Only { .. }) = arguments.next::<(Vec<Defaults>, Kept)>().unwrap();
        assert_eq!(items.len(), 10_000);
        let took = MemoryUse(memory).bytes();
        assert!((4_000_000..5_000_000).contains(&took), "{took} bytes");
    }
}

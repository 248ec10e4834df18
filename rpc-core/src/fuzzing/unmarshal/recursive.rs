//! Types that hold themselves: a small stack is enough, and what is taken is what it is marshalled as again.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::Limits;
use crate::marshal::{Guard, Payload, Shape, unmarshal_payload};

/// What a thread of tokio or of a test has.
const STACK_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Expression {
    Zero,
    Number(i64),
    Real(f64),
    Text(String),
    Data(Vec<u8>),
    Maybe(Option<Box<Expression>>),
    Negated(Box<Expression>),
    Sum(Box<Expression>, Box<Expression>),
    Named { of: Box<Expression>, by: Option<char> },
    All(Vec<Expression>),
    Each(BTreeMap<i16, Expression>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Directory(BTreeMap<String, Directory>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Option<Box<Nested>>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List {
    #[serde(default)]
    next: Option<Box<List>>,
    #[serde(default)]
    number: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Real(f64),
    Text(String),
    List(Vec<Loose>),
    Map(BTreeMap<String, Loose>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Leaf { number: i32 },
    Branch { left: Box<Tagged>, right: Option<Box<Tagged>> },
}

pub(super) fn check(bytes: &[u8], guard: Guard) {
    let payload = Payload::from_slice(bytes);
    let all = move || {
        let _ = unmarshal_payload::<IgnoredAny>(&payload, guard);
        there_and_back::<Expression>(&payload, guard);
        there_and_back::<Tree>(&payload, guard);
        there_and_back::<Directory>(&payload, guard);
        there_and_back::<Nested>(&payload, guard);
        there_and_back::<List>(&payload, guard);
        there_and_back::<Loose>(&payload, guard);
        there_and_back::<Tagged>(&payload, guard);
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(all);
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

/// What was taken is marshalled, and that is taken for the same: a second marshalling tells, also of a NaN.
fn there_and_back<T: Serialize + DeserializeOwned>(payload: &Payload, guard: Guard) {
    let Ok(value) = unmarshal_payload::<T>(payload, guard) else { return };
    // In another form it may be deeper, and larger for its bytes.
    let guard = Guard::from(&Limits::default().with_unmarshal_depth(256));
    for shape in [Shape::Named, Shape::Positional] {
        let once = Payload::marshal(&value, shape).expect("what was unmarshalled can be marshalled");
        let again = unmarshal_payload::<T>(&once, guard).expect("what was written can be read");
        assert_eq!(Payload::marshal(&again, shape).expect("as before").as_slice(), once.as_slice());
    }
}

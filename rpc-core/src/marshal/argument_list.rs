//! The arguments of a call on their way out: a tuple becomes an array.

use serde::Serialize;

use super::{Payload, Shape};
use crate::error::{Code, Error, Executed};

/// The arguments of a call: `()` or a tuple of up to sixteen values (or references to them), each `Serialize`.
///
/// They travel as one MessagePack array with an element for each. The trait is sealed; stubs that `#[service]`
/// writes pass tuples, and so may anyone who calls a method by its name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of arguments that can be sent",
    label = "not a tuple of values that implement `Serialize`",
    note = "every argument must implement `serde::Serialize`: add `#[derive(Serialize, Deserialize)]` to its type",
    note = "the arguments are passed as a tuple: `()` for none, `(a,)` for one, up to sixteen"
)]
pub trait ArgumentList: sealed::Marshal {}

pub(super) mod sealed {
    use super::{Error, Payload, Shape};

    pub trait Marshal {
        /// Marshals the arguments as one array.
        ///
        /// # Errors
        /// [`Code::InvalidArgument`](super::Code::InvalidArgument), not executed, if the `Serialize` of one
        /// refuses.
        fn marshal(&self, shape: Shape) -> Result<Payload, Error>;
    }
}

impl ArgumentList for () {}

impl sealed::Marshal for () {
    #[inline]
    fn marshal(&self, _: Shape) -> Result<Payload, Error> {
        // To serde an empty tuple is nil; as a list of arguments it is an empty array.
        Ok(Payload::from_slice(&[0x90]))
    }
}

macro_rules! argument_lists {
    ($(($($argument:ident)+))+) => {
        $(
            impl<$($argument: Serialize),+> ArgumentList for ($($argument,)+) {}

            impl<$($argument: Serialize),+> sealed::Marshal for ($($argument,)+) {
                #[inline]
                fn marshal(&self, shape: Shape) -> Result<Payload, Error> {
                    match Payload::marshal(self, shape) {
                        Ok(payload) => Ok(payload),
                        Err(error) => Err(refused(error)),
                    }
                }
            }
        )+
    };
}

argument_lists! {
    (A)
    (A B)
    (A B C)
    (A B C D)
    (A B C D E)
    (A B C D E F)
    (A B C D E F G)
    (A B C D E F G H)
    (A B C D E F G H I)
    (A B C D E F G H I J)
    (A B C D E F G H I J K)
    (A B C D E F G H I J K L)
    (A B C D E F G H I J K L M)
    (A B C D E F G H I J K L M N)
    (A B C D E F G H I J K L M N O)
    (A B C D E F G H I J K L M N O P)
}

#[cold]
fn refused(error: Error) -> Error {
    Error::new(Code::InvalidArgument, error.message()).with_executed(Executed::No)
}

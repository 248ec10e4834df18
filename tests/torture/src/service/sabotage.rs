//! Lies and mistakes, each of which a run must find.

use std::fmt;
use std::str::FromStr;

/// What is done wrong on purpose, so that it can be seen to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A server executes a call twice.
    ExecuteTwice,
    /// A server answers a call that it does not execute.
    ForgetExecution,
    /// A server says of a call that it executed that it did not.
    SayNo,
    /// A server gives two items of a stream in the wrong order.
    SwapItems,
    /// A server ends a stream early as if it were whole.
    CutStream,
    /// A server leaves a task behind, now and then.
    Leak,
    /// A handler panics.
    Panic,
    /// A client retries what may have been executed.
    RetryMaybe,
    /// A client forgets how a call ended.
    LoseOutcome,
    /// The network alters a byte of a reply.
    AlterReply,
}

impl Sabotage {
    pub(crate) const ALL: [Sabotage; 10] = [
        Sabotage::ExecuteTwice,
        Sabotage::ForgetExecution,
        Sabotage::SayNo,
        Sabotage::SwapItems,
        Sabotage::CutStream,
        Sabotage::Leak,
        Sabotage::Panic,
        Sabotage::RetryMaybe,
        Sabotage::LoseOutcome,
        Sabotage::AlterReply,
    ];

    /// Words of which one stands in what is found.
    pub(crate) fn is_found_as(self) -> &'static [&'static str] {
        match self {
            Sabotage::ExecuteTwice | Sabotage::RetryMaybe => &["was executed twice"],
            Sabotage::ForgetExecution => &["as if it had been executed, and was not"],
            // Or that it was executed twice, once its caller has believed it.
            Sabotage::SayNo => &["told that it was not", "was executed twice"],
            Sabotage::SwapItems | Sabotage::CutStream => &["a stream was out of order"],
            Sabotage::Leak => &["does not come to rest"],
            Sabotage::Panic => &["panicked at"],
            Sabotage::LoseOutcome => &["has no outcome"],
            Sabotage::AlterReply => &["another reply", "other arguments", "a stream was out of order"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sabotage::ExecuteTwice => "execute-twice",
            Sabotage::ForgetExecution => "forget-execution",
            Sabotage::SayNo => "say-no",
            Sabotage::SwapItems => "swap-items",
            Sabotage::CutStream => "cut-stream",
            Sabotage::Leak => "leak",
            Sabotage::Panic => "panic",
            Sabotage::RetryMaybe => "retry-maybe",
            Sabotage::LoseOutcome => "lose-outcome",
            Sabotage::AlterReply => "alter-reply",
        }
    }
}

impl FromStr for Sabotage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Sabotage::ALL.into_iter().find(|sabotage| sabotage.name() == text);
        found.ok_or_else(|| format!("one of {}", Sabotage::ALL.map(Sabotage::name).join(", ")))
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

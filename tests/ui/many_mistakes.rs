//! Every mistake in a trait is told at once, each at its token.

use rpc::service;

#[service(nmae = "many", compact, compact)]
#[rpc(oneway)]
pub unsafe trait Many<'a, T> {
    const LENGTH: usize;
    type Key;
    methods!();

    fn not_async(&self);
    async fn receiver(&mut self, _: u8, (left, right): (u8, u8));
    async fn generic<U>(&self, first: &'static str, second: Option<&U>);
    async fn results(&self) -> Result<&str>;
    #[rpc(idempotant, oneway)]
    async fn options(&self, #[rpc(default)] first: u8, #[cfg(unix)] second: u8) -> u8;
    #[rpc(name = "options")]
    async fn new(&self, streams: Vec<Streaming<T>>) -> impl Stream<Item = &T>;
}

fn main() {}

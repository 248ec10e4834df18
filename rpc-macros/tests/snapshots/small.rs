/// Integer arithmetic over the network.
#[service]
pub trait Calculator {
    /// The sum of two integers.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Fails as its own type, not as an RPC failure.
    #[rpc(idempotent)]
    async fn divide(&self, dividend: i64, divisor: i64) -> Result<i64, MathError>;
    /// Arguments may be borrowed.
    async fn digest(&self, name: &str, data: &[u8]) -> [u8; 32];
    /// No reply is sent or awaited.
    #[rpc(oneway)]
    async fn log(&self, line: String);
}

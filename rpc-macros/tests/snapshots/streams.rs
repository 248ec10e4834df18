/// Readings that come and go.
#[service(compact)]
pub trait Readings<T: Clone> {
    /// All that there are.
    async fn all(&self, since: &str) -> impl Stream<Item = T>;
    /// Fails before the first of them, or not at all.
    #[rpc(idempotent)]
    async fn watch(&self, sensor: u32) -> Result<impl Stream<Item = T> + Send, NoSensor>;
    /// Ends with the first failure.
    async fn tail(&self) -> impl rpc::Stream<Item = Result<(u32, T), Broken>>;
    /// Fails before them or among them.
    async fn feed(&self, sensors: &[u32]) -> Result<impl Stream<Item = Result<T, Broken>> + 'static, NoSensor>;
    /// How many there were.
    async fn record(&self, readings: Streaming<T>) -> u64;
    /// Whether all of them came, and a mark of what was seen.
    #[rpc(name = "merge.v2", alias = "merge", no_cancel)]
    async fn merge(
        &self,
        name: &str,
        left: rpc::Streaming<T>,
        limit: u64,
        right: Streaming<Option<T>, Broken>,
        #[rpc(default)] mark: bool,
    ) -> Result<bool, NoSensor>;
    /// Each reading, as it comes, and what is known of it.
    #[cfg(feature = "both")]
    async fn both(&self, readings: Streaming<Result<T, Broken>>) -> impl Stream<Item = Known<T>> {
        let first = self.all("").await;
        rpc::iter([Known(first, readings)])
    }
}

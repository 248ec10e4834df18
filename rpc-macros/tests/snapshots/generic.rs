/// Values under keys.
#[service]
pub(crate) trait Store<K: Ord, V = String, const SHARDS: usize = 1>: fmt::Debug
where
    V: Default,
    Self: Clone,
{
    /// The value under a key.
    async fn get(&self, key: &K) -> Option<V>;
    /// The values under some keys.
    async fn get_all(&self, keys: &[K]) -> Vec<V> {
        let mut values = Vec::new();
        for key in keys {
            values.extend(self.get(key).await);
        }
        values
    }
    /// The value that was there.
    async fn put(&self, key: K, value: V) -> rpc::Result<Option<V>, Full>;
}

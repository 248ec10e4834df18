/// Values under keys.
pub(crate) trait Store<
    K: Ord + ::rpc::Value,
    V: ::rpc::Value = String,
    const SHARDS: usize = 1,
>: fmt::Debug + ::core::marker::Send + ::core::marker::Sync + 'static
where
    V: Default,
    Self: Clone,
{
    /// The value under a key.
    fn get(
        &self,
        key: &K,
    ) -> impl ::core::future::Future<Output = Option<V>> + ::core::marker::Send;
    /// The values under some keys.
    fn get_all(
        &self,
        keys: &[K],
    ) -> impl ::core::future::Future<Output = Vec<V>> + ::core::marker::Send {
        async move {
            let mut values = Vec::new();
            for key in keys {
                values.extend(self.get(key).await);
            }
            values
        }
    }
    /// The value that was there.
    fn put(
        &self,
        key: K,
        value: V,
    ) -> impl ::core::future::Future<
        Output = rpc::Result<Option<V>, Full>,
    > + ::core::marker::Send;
}
/// Calls a [`Store`] through a channel.
///
/// Each method makes one call, which begins when it is first polled. Clones share the channel.
///
/// Values under keys.
pub(crate) struct StoreClient<K, V = String, const SHARDS: usize = 1> {
    channel: ::rpc::Channel,
    types: ::core::marker::PhantomData<fn() -> (K, V)>,
}
impl<
    K: Ord + ::rpc::Value,
    V: ::rpc::Value,
    const SHARDS: usize,
> StoreClient<K, V, SHARDS>
where
    V: Default,
{
    /// A client that calls through `channel`, which others may share.
    pub(crate) fn new(channel: ::rpc::Channel) -> Self {
        Self {
            channel,
            types: ::core::marker::PhantomData,
        }
    }
    /// Connects to a server, such as `"tcp://127.0.0.1:9000"`: await it, or call `blocking()` on it.
    pub(crate) fn connect<Via>(to: impl ::rpc::Connect<Via>) -> ::rpc::Connecting<Self> {
        ::rpc::Connecting::new(to)
    }
    /// A client of a server in this process: values are marshalled, but cross no socket.
    pub(crate) fn in_process<Handler: Store<K, V, SHARDS>>(
        service: StoreServer<K, V, SHARDS, Handler>,
    ) -> Self {
        Self::new(::rpc::Channel::in_process(service))
    }
    /// The value under a key.
    pub(crate) fn get(&self, key: &K) -> ::rpc::Call<Option<V>> {
        self.channel.call("Store.get", (key,))
    }
    /// The values under some keys.
    pub(crate) fn get_all(&self, keys: &[K]) -> ::rpc::Call<Vec<V>> {
        self.channel.call("Store.get_all", (keys,))
    }
    /// The value that was there.
    pub(crate) fn put(&self, key: K, value: V) -> ::rpc::Call<Option<V>, Full> {
        self.channel.call("Store.put", (key, value))
    }
}
#[automatically_derived]
impl<K, V, const SHARDS: usize> ::core::convert::From<::rpc::Channel>
for StoreClient<K, V, SHARDS> {
    fn from(channel: ::rpc::Channel) -> Self {
        Self {
            channel,
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<K, V, const SHARDS: usize> ::core::convert::AsRef<::rpc::Channel>
for StoreClient<K, V, SHARDS> {
    fn as_ref(&self) -> &::rpc::Channel {
        &self.channel
    }
}
#[automatically_derived]
impl<K, V, const SHARDS: usize> ::core::clone::Clone for StoreClient<K, V, SHARDS> {
    fn clone(&self) -> Self {
        Self {
            channel: ::core::clone::Clone::clone(&self.channel),
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<K, V, const SHARDS: usize> ::core::fmt::Debug for StoreClient<K, V, SHARDS> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("StoreClient").field("channel", &self.channel).finish()
    }
}
/// Serves a [`Store`]: add it to a server, or give it to [`StoreClient::in_process`].
pub(crate) struct StoreServer<K, V, const SHARDS: usize, Handler> {
    handler: ::std::sync::Arc<Handler>,
    types: ::core::marker::PhantomData<fn() -> (K, V)>,
}
impl<
    K: Ord + ::rpc::Value,
    V: ::rpc::Value,
    const SHARDS: usize,
    Handler: Store<K, V, SHARDS>,
> StoreServer<K, V, SHARDS, Handler>
where
    V: Default,
{
    /// Serves `handler`, or an `Arc` of it that the program goes on using.
    pub(crate) fn new(handler: impl ::core::convert::Into<Self>) -> Self {
        handler.into()
    }
}
#[automatically_derived]
impl<
    K: Ord + ::rpc::Value,
    V: ::rpc::Value,
    const SHARDS: usize,
    Handler: Store<K, V, SHARDS>,
> ::core::convert::From<Handler> for StoreServer<K, V, SHARDS, Handler>
where
    V: Default,
{
    fn from(handler: Handler) -> Self {
        Self {
            handler: ::std::sync::Arc::new(handler),
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<
    K: Ord + ::rpc::Value,
    V: ::rpc::Value,
    const SHARDS: usize,
    Handler: Store<K, V, SHARDS>,
> ::core::convert::From<::std::sync::Arc<Handler>> for StoreServer<K, V, SHARDS, Handler>
where
    V: Default,
{
    fn from(handler: ::std::sync::Arc<Handler>) -> Self {
        Self {
            handler,
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<K, V, const SHARDS: usize, Handler> ::core::clone::Clone
for StoreServer<K, V, SHARDS, Handler> {
    fn clone(&self) -> Self {
        Self {
            handler: ::core::clone::Clone::clone(&self.handler),
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<K, V, const SHARDS: usize, Handler> ::core::fmt::Debug
for StoreServer<K, V, SHARDS, Handler> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("StoreServer").finish_non_exhaustive()
    }
}
#[automatically_derived]
#[allow(dead_code)]
impl<
    K: Ord + ::rpc::Value,
    V: ::rpc::Value,
    const SHARDS: usize,
    Handler: Store<K, V, SHARDS>,
> ::rpc::Service for StoreServer<K, V, SHARDS, Handler>
where
    V: Default,
{
    const NAME: &'static str = "Store";
    const METHODS: &'static [::rpc::Method] = &[
        ::rpc::Method::new("get", &["key"]),
        ::rpc::Method::new("get_all", &["keys"]),
        ::rpc::Method::new("put", &["key", "value"]),
    ];
    async fn dispatch(&self, request: &::rpc::Request) -> ::rpc::Reply {
        let mut arguments = request.arguments()?;
        match request.method() {
            "get" => {
                request
                    .reply(
                        Store::<
                            K,
                            V,
                            SHARDS,
                        >::get(&*self.handler, &arguments.next::<K>()?)
                            .await,
                    )
            }
            "get_all" => {
                request
                    .reply(
                        Store::<
                            K,
                            V,
                            SHARDS,
                        >::get_all(
                                &*self.handler,
                                &arguments.next::<::std::vec::Vec<K>>()?,
                            )
                            .await,
                    )
            }
            "put" => {
                request
                    .result(
                        Store::<
                            K,
                            V,
                            SHARDS,
                        >::put(&*self.handler, arguments.next()?, arguments.next()?)
                            .await,
                    )
            }
            _ => request.unimplemented(),
        }
    }
}

/// Readings that come and go.
pub trait Readings<
    T: Clone + ::rpc::Value,
>: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// All that there are.
    fn all(
        &self,
        since: &str,
    ) -> impl ::core::future::Future<
        Output = impl Stream<Item = T> + ::core::marker::Send,
    > + ::core::marker::Send;
    /// Fails before the first of them, or not at all.
    fn watch(
        &self,
        sensor: u32,
    ) -> impl ::core::future::Future<
        Output = Result<impl Stream<Item = T> + Send, NoSensor>,
    > + ::core::marker::Send;
    /// Ends with the first failure.
    fn tail(
        &self,
    ) -> impl ::core::future::Future<
        Output = impl rpc::Stream<Item = Result<(u32, T), Broken>> + ::core::marker::Send,
    > + ::core::marker::Send;
    /// Fails before them or among them.
    fn feed(
        &self,
        sensors: &[u32],
    ) -> impl ::core::future::Future<
        Output = Result<
            impl Stream<Item = Result<T, Broken>> + 'static + ::core::marker::Send,
            NoSensor,
        >,
    > + ::core::marker::Send;
    /// How many there were.
    fn record(
        &self,
        readings: Streaming<T>,
    ) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    /// Whether all of them came, and a mark of what was seen.
    fn merge(
        &self,
        name: &str,
        left: rpc::Streaming<T>,
        limit: u64,
        right: Streaming<Option<T>, Broken>,
        mark: bool,
    ) -> impl ::core::future::Future<
        Output = Result<bool, NoSensor>,
    > + ::core::marker::Send;
    /// Each reading, as it comes, and what is known of it.
    #[cfg(feature = "both")]
    fn both(
        &self,
        readings: Streaming<Result<T, Broken>>,
    ) -> impl ::core::future::Future<
        Output = impl Stream<Item = Known<T>> + ::core::marker::Send,
    > + ::core::marker::Send {
        async move {
            let first = self.all("").await;
            rpc::iter([Known(first, readings)])
        }
    }
}
/// Calls a [`Readings`] through a channel.
///
/// Each method makes one call, which begins when it is first polled. Clones share the channel.
///
/// Readings that come and go.
pub struct ReadingsClient<T> {
    channel: ::rpc::Channel,
    types: ::core::marker::PhantomData<fn() -> T>,
}
impl<T: Clone + ::rpc::Value> ReadingsClient<T> {
    /// A client that calls through `channel`, which others may share.
    pub fn new(channel: ::rpc::Channel) -> Self {
        Self {
            channel,
            types: ::core::marker::PhantomData,
        }
    }
    /// Connects to a server, such as `"tcp://127.0.0.1:9000"`: await it, or call `blocking()` on it.
    pub fn connect<Via>(to: impl ::rpc::Connect<Via>) -> ::rpc::Connecting<Self> {
        ::rpc::Connecting::new(to)
    }
    /// A client of a server in this process: values are marshalled, but cross no socket.
    pub fn in_process<Handler: Readings<T>>(
        service: ReadingsServer<T, Handler>,
    ) -> Self {
        Self::new(::rpc::Channel::in_process(service))
    }
    /// All that there are.
    pub fn all(&self, since: &str) -> ::rpc::Call<::rpc::Streaming<T>> {
        self.channel.call_compact("Readings.all", (since,))
    }
    /// Fails before the first of them, or not at all.
    pub fn watch(&self, sensor: u32) -> ::rpc::Call<::rpc::Streaming<T>, NoSensor> {
        self.channel.call_compact("Readings.watch", (sensor,)).idempotent()
    }
    /// Ends with the first failure.
    pub fn tail(&self) -> ::rpc::Call<::rpc::Streaming<(u32, T), Broken>> {
        self.channel.call_compact("Readings.tail", ())
    }
    /// Fails before them or among them.
    pub fn feed(
        &self,
        sensors: &[u32],
    ) -> ::rpc::Call<::rpc::Streaming<T, Broken>, NoSensor> {
        self.channel.call_compact("Readings.feed", (sensors,))
    }
    /// How many there were.
    pub fn record(
        &self,
        readings: impl ::rpc::Stream<Item = T> + ::core::marker::Send + 'static,
    ) -> ::rpc::Call<u64> {
        self.channel
            .call_compact("Readings.record", (::rpc::StreamArgument(1),))
            .stream(readings)
    }
    /// Whether all of them came, and a mark of what was seen.
    pub fn merge(
        &self,
        name: &str,
        left: impl ::rpc::Stream<Item = T> + ::core::marker::Send + 'static,
        limit: u64,
        right: impl ::rpc::Stream<
            Item = ::core::result::Result<Option<T>, Broken>,
        > + ::core::marker::Send + 'static,
        mark: bool,
    ) -> ::rpc::Call<bool, NoSensor> {
        self.channel
            .call_compact(
                "Readings.merge.v2",
                (name, ::rpc::StreamArgument(1), limit, ::rpc::StreamArgument(2), mark),
            )
            .stream(left)
            .try_stream(right)
    }
    /// Each reading, as it comes, and what is known of it.
    #[cfg(feature = "both")]
    pub fn both(
        &self,
        readings: impl ::rpc::Stream<
            Item = Result<T, Broken>,
        > + ::core::marker::Send + 'static,
    ) -> ::rpc::Call<::rpc::Streaming<Known<T>>> {
        self.channel
            .call_compact("Readings.both", (::rpc::StreamArgument(1),))
            .stream(readings)
    }
}
#[automatically_derived]
impl<T> ::core::convert::From<::rpc::Channel> for ReadingsClient<T> {
    fn from(channel: ::rpc::Channel) -> Self {
        Self {
            channel,
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<T> ::core::convert::AsRef<::rpc::Channel> for ReadingsClient<T> {
    fn as_ref(&self) -> &::rpc::Channel {
        &self.channel
    }
}
#[automatically_derived]
impl<T> ::core::clone::Clone for ReadingsClient<T> {
    fn clone(&self) -> Self {
        Self {
            channel: ::core::clone::Clone::clone(&self.channel),
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<T> ::core::fmt::Debug for ReadingsClient<T> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("ReadingsClient").field("channel", &self.channel).finish()
    }
}
/// Serves a [`Readings`]: add it to a server, or give it to [`ReadingsClient::in_process`].
pub struct ReadingsServer<T, Handler> {
    handler: ::std::sync::Arc<Handler>,
    types: ::core::marker::PhantomData<fn() -> T>,
}
impl<T: Clone + ::rpc::Value, Handler: Readings<T>> ReadingsServer<T, Handler> {
    /// Serves `handler`, or an `Arc` of it that the program goes on using.
    pub fn new(handler: impl ::core::convert::Into<Self>) -> Self {
        handler.into()
    }
}
#[automatically_derived]
impl<T: Clone + ::rpc::Value, Handler: Readings<T>> ::core::convert::From<Handler>
for ReadingsServer<T, Handler> {
    fn from(handler: Handler) -> Self {
        Self {
            handler: ::std::sync::Arc::new(handler),
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<
    T: Clone + ::rpc::Value,
    Handler: Readings<T>,
> ::core::convert::From<::std::sync::Arc<Handler>> for ReadingsServer<T, Handler> {
    fn from(handler: ::std::sync::Arc<Handler>) -> Self {
        Self {
            handler,
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<T, Handler> ::core::clone::Clone for ReadingsServer<T, Handler> {
    fn clone(&self) -> Self {
        Self {
            handler: ::core::clone::Clone::clone(&self.handler),
            types: ::core::marker::PhantomData,
        }
    }
}
#[automatically_derived]
impl<T, Handler> ::core::fmt::Debug for ReadingsServer<T, Handler> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("ReadingsServer").finish_non_exhaustive()
    }
}
#[automatically_derived]
#[allow(dead_code)]
impl<T: Clone + ::rpc::Value, Handler: Readings<T>> ::rpc::Service
for ReadingsServer<T, Handler> {
    const NAME: &'static str = "Readings";
    const METHODS: &'static [::rpc::Method] = &[
        ::rpc::Method::new("all", &["since"]).streaming().compact(),
        ::rpc::Method::new("watch", &["sensor"]).idempotent().streaming().compact(),
        ::rpc::Method::new("tail", &[]).streaming().compact(),
        ::rpc::Method::new("feed", &["sensors"]).streaming().compact(),
        ::rpc::Method::new("record", &["readings"]).streaming().compact(),
        ::rpc::Method::new("merge.v2", &["name", "left", "limit", "right", "mark"])
            .aliases(&["merge"])
            .no_cancel()
            .streaming()
            .compact(),
        #[cfg(feature = "both")]
        ::rpc::Method::new("both", &["readings"]).streaming().compact(),
    ];
    async fn dispatch(&self, request: &::rpc::Request) -> ::rpc::Reply {
        let mut arguments = request.arguments()?;
        match request.method() {
            "all" => {
                request
                    .stream(Readings::<T>::all(&*self.handler, arguments.next()?).await)
                    .await
            }
            "watch" => {
                request
                    .stream(
                        request
                            .opened(
                                Readings::<T>::watch(&*self.handler, arguments.next()?)
                                    .await,
                            )?,
                    )
                    .await
            }
            "tail" => request.try_stream(Readings::<T>::tail(&*self.handler).await).await,
            "feed" => {
                request
                    .try_stream(
                        request
                            .opened(
                                Readings::<
                                    T,
                                >::feed(
                                        &*self.handler,
                                        &arguments.next::<::std::vec::Vec<u32>>()?,
                                    )
                                    .await,
                            )?,
                    )
                    .await
            }
            "record" => {
                request
                    .reply(
                        Readings::<
                            T,
                        >::record(&*self.handler, request.streaming(arguments.next()?)?)
                            .await,
                    )
            }
            "merge.v2" => {
                request
                    .result(
                        Readings::<
                            T,
                        >::merge(
                                &*self.handler,
                                arguments.next()?,
                                request.streaming(arguments.next()?)?,
                                arguments.next()?,
                                request.streaming(arguments.next()?)?,
                                arguments.next_or_default()?,
                            )
                            .await,
                    )
            }
            #[cfg(feature = "both")]
            "both" => {
                request
                    .stream(
                        Readings::<
                            T,
                        >::both(&*self.handler, request.streaming(arguments.next()?)?)
                            .await,
                    )
                    .await
            }
            _ => request.unimplemented(),
        }
    }
}

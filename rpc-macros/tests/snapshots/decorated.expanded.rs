/// Everything that can be said of a service.
#[cfg(feature = "jobs")]
#[deprecated = "use `Tasks`"]
#[cfg_attr(docsrs, doc(alias = "work"))]
#[cfg_attr(docsrs, diagnostic::on_unimplemented(message = "not a job server"))]
#[expect(missing_docs)]
pub trait Jobs: ::core::marker::Send + ::core::marker::Sync + 'static {
    #[allow(clippy::too_many_arguments)]
    fn launch(
        &self,
        r#type: Kind,
        Handler: Option<&str>,
        payload: &[u8],
        options: &Options,
        priority: u8,
        #[cfg(feature = "tags")]
        tags: Vec<String>,
    ) -> impl ::core::future::Future<
        Output = Result<Id, JobError>,
    > + ::core::marker::Send;
    /// Documented, and gone one day.
    #[deprecated]
    fn r#loop(&self) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    #[cfg(unix)]
    fn signal(
        &self,
        id: Id,
        signal: i32,
    ) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
    #[cfg(not(unix))]
    fn signal(
        &self,
        id: Id,
    ) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
    #[cfg(any(not(feature = "slow"), all(test)))]
    fn ping(&self) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send {
        async move {}
    }
}
/// Calls a [`Jobs`] through a channel.
///
/// Each method makes one call, which begins when it is first polled. Clones share the channel.
///
/// Everything that can be said of a service.
#[cfg(feature = "jobs")]
#[deprecated = "use `Tasks`"]
#[cfg_attr(docsrs, doc(alias = "work"))]
#[allow(missing_docs)]
pub struct JobsClient {
    channel: crate::reexported::rpc::Channel,
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
impl JobsClient {
    /// A client that calls through `channel`, which others may share.
    pub fn new(channel: crate::reexported::rpc::Channel) -> Self {
        Self { channel }
    }
    /// Connects to a server, such as `"tcp://127.0.0.1:9000"`: await it, or call `blocking()` on it.
    pub fn connect<Via>(
        to: impl crate::reexported::rpc::Connect<Via>,
    ) -> crate::reexported::rpc::Connecting<Self> {
        crate::reexported::rpc::Connecting::new(to)
    }
    /// A client of a server in this process: values are marshalled, but cross no socket.
    pub fn in_process<Handler2: Jobs>(service: JobsServer<Handler2>) -> Self {
        Self::new(crate::reexported::rpc::Channel::in_process(service))
    }
    /// Calls `jobs.v2.run`.
    #[allow(clippy::too_many_arguments)]
    pub fn launch(
        &self,
        r#type: Kind,
        Handler: Option<&str>,
        payload: &[u8],
        options: &Options,
        priority: u8,
        #[cfg(feature = "tags")]
        tags: Vec<String>,
    ) -> crate::reexported::rpc::Call<Id, JobError> {
        self.channel
            .call_compact(
                "jobs.v2.run",
                (
                    r#type,
                    Handler,
                    payload,
                    options,
                    priority,
                    #[cfg(feature = "tags")]
                    tags,
                ),
            )
            .idempotent()
    }
    /// Documented, and gone one day.
    #[deprecated]
    pub fn r#loop(&self) -> crate::reexported::rpc::Call<u64> {
        self.channel.call_compact("jobs.v2.loop", ())
    }
    /// Calls `jobs.v2.signal`.
    #[cfg(unix)]
    pub fn signal(&self, id: Id, signal: i32) -> crate::reexported::rpc::Call<()> {
        self.channel.notify_compact("jobs.v2.signal", (id, signal))
    }
    /// Calls `jobs.v2.signal`.
    #[cfg(not(unix))]
    pub fn signal(&self, id: Id) -> crate::reexported::rpc::Call<()> {
        self.channel.notify_compact("jobs.v2.signal", (id,))
    }
    /// Calls `jobs.v2.ping`.
    #[cfg(any(not(feature = "slow"), all(test)))]
    pub fn ping(&self) -> crate::reexported::rpc::Call<()> {
        self.channel.call_compact("jobs.v2.ping", ())
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl ::core::convert::From<crate::reexported::rpc::Channel> for JobsClient {
    fn from(channel: crate::reexported::rpc::Channel) -> Self {
        Self { channel }
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl ::core::convert::AsRef<crate::reexported::rpc::Channel> for JobsClient {
    fn as_ref(&self) -> &crate::reexported::rpc::Channel {
        &self.channel
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl ::core::clone::Clone for JobsClient {
    fn clone(&self) -> Self {
        Self {
            channel: ::core::clone::Clone::clone(&self.channel),
        }
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl ::core::fmt::Debug for JobsClient {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("JobsClient").field("channel", &self.channel).finish()
    }
}
/// Serves a [`Jobs`]: add it to a server, or give it to [`JobsClient::in_process`].
#[cfg(feature = "jobs")]
#[deprecated = "use `Tasks`"]
#[cfg_attr(docsrs, doc(alias = "work"))]
#[allow(missing_docs)]
pub struct JobsServer<Handler2> {
    handler: ::std::sync::Arc<Handler2>,
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
impl<Handler2: Jobs> JobsServer<Handler2> {
    /// Serves `handler`, or an `Arc` of it that the program goes on using.
    pub fn new(handler: impl ::core::convert::Into<Self>) -> Self {
        handler.into()
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl<Handler2: Jobs> ::core::convert::From<Handler2> for JobsServer<Handler2> {
    fn from(handler: Handler2) -> Self {
        Self {
            handler: ::std::sync::Arc::new(handler),
        }
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl<Handler2: Jobs> ::core::convert::From<::std::sync::Arc<Handler2>>
for JobsServer<Handler2> {
    fn from(handler: ::std::sync::Arc<Handler2>) -> Self {
        Self { handler }
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl<Handler2> ::core::clone::Clone for JobsServer<Handler2> {
    fn clone(&self) -> Self {
        Self {
            handler: ::core::clone::Clone::clone(&self.handler),
        }
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
impl<Handler2> ::core::fmt::Debug for JobsServer<Handler2> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("JobsServer").finish_non_exhaustive()
    }
}
#[cfg(feature = "jobs")]
#[allow(missing_docs)]
#[allow(deprecated)]
#[automatically_derived]
#[allow(dead_code)]
impl<Handler2: Jobs> crate::reexported::rpc::Service for JobsServer<Handler2> {
    const NAME: &'static str = "jobs.v2";
    const METHODS: &'static [crate::reexported::rpc::Method] = &[
        crate::reexported::rpc::Method::new(
                "run",
                &[
                    "type",
                    "Handler",
                    "payload",
                    "options",
                    "priority",
                    #[cfg(feature = "tags")]
                    "tags",
                ],
            )
            .aliases(&["start", "begin"])
            .idempotent()
            .no_cancel()
            .spawn()
            .compact(),
        crate::reexported::rpc::Method::new("loop", &[]).inline().compact(),
        #[cfg(unix)]
        crate::reexported::rpc::Method::new("signal", &["id", "signal"])
            .oneway()
            .spawn()
            .compact(),
        #[cfg(not(unix))]
        crate::reexported::rpc::Method::new("signal", &["id"])
            .oneway()
            .spawn()
            .compact(),
        #[cfg(any(not(feature = "slow"), all(test)))]
        crate::reexported::rpc::Method::new("ping", &[]).spawn().compact(),
    ];
    async fn dispatch(
        &self,
        request: &crate::reexported::rpc::Request,
    ) -> crate::reexported::rpc::Reply {
        let mut arguments = request.arguments()?;
        match request.method() {
            "run" => {
                request
                    .result(
                        Jobs::launch(
                                &*self.handler,
                                arguments.next()?,
                                arguments.next()?,
                                arguments.next()?,
                                &arguments.next::<Options>()?,
                                arguments.next_or_default()?,
                                #[cfg(feature = "tags")]
                                arguments.next_or_default()?,
                            )
                            .await,
                    )
            }
            "loop" => request.reply(Jobs::r#loop(&*self.handler).await),
            #[cfg(unix)]
            "signal" => {
                request
                    .reply(
                        Jobs::signal(
                                &*self.handler,
                                arguments.next()?,
                                arguments.next()?,
                            )
                            .await,
                    )
            }
            #[cfg(not(unix))]
            "signal" => {
                request.reply(Jobs::signal(&*self.handler, arguments.next()?).await)
            }
            #[cfg(any(not(feature = "slow"), all(test)))]
            "ping" => request.reply(Jobs::ping(&*self.handler).await),
            _ => request.unimplemented(),
        }
    }
}

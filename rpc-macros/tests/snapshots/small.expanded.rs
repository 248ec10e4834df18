/// Integer arithmetic over the network.
pub trait Calculator: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// The sum of two integers.
    fn add(
        &self,
        a: i64,
        b: i64,
    ) -> impl ::core::future::Future<Output = i64> + ::core::marker::Send;
    /// Fails as its own type, not as an RPC failure.
    fn divide(
        &self,
        dividend: i64,
        divisor: i64,
    ) -> impl ::core::future::Future<
        Output = Result<i64, MathError>,
    > + ::core::marker::Send;
    /// Arguments may be borrowed.
    fn digest(
        &self,
        name: &str,
        data: &[u8],
    ) -> impl ::core::future::Future<Output = [u8; 32]> + ::core::marker::Send;
    /// No reply is sent or awaited.
    fn log(
        &self,
        line: String,
    ) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
}
/// Calls a [`Calculator`] through a channel.
///
/// Each method makes one call, which begins when it is first polled. Clones share the channel.
///
/// Integer arithmetic over the network.
pub struct CalculatorClient {
    channel: ::rpc::Channel,
}
impl CalculatorClient {
    /// A client that calls through `channel`, which others may share.
    pub fn new(channel: ::rpc::Channel) -> Self {
        Self { channel }
    }
    /// Connects to a server, such as `"tcp://127.0.0.1:9000"`: await it, or call `blocking()` on it.
    pub fn connect<Via>(to: impl ::rpc::Connect<Via>) -> ::rpc::Connecting<Self> {
        ::rpc::Connecting::new(to)
    }
    /// A client of a server in this process: values are marshalled, but cross no socket.
    pub fn in_process<Handler: Calculator>(service: CalculatorServer<Handler>) -> Self {
        Self::new(::rpc::Channel::in_process(service))
    }
    /// The sum of two integers.
    pub fn add(&self, a: i64, b: i64) -> ::rpc::Call<i64> {
        self.channel.call("Calculator.add", (a, b))
    }
    /// Fails as its own type, not as an RPC failure.
    pub fn divide(&self, dividend: i64, divisor: i64) -> ::rpc::Call<i64, MathError> {
        self.channel.call("Calculator.divide", (dividend, divisor)).idempotent()
    }
    /// Arguments may be borrowed.
    pub fn digest(&self, name: &str, data: &[u8]) -> ::rpc::Call<[u8; 32]> {
        self.channel.call("Calculator.digest", (name, data))
    }
    /// No reply is sent or awaited.
    pub fn log(&self, line: String) -> ::rpc::Call<()> {
        self.channel.notify("Calculator.log", (line,))
    }
}
#[automatically_derived]
impl ::core::convert::From<::rpc::Channel> for CalculatorClient {
    fn from(channel: ::rpc::Channel) -> Self {
        Self { channel }
    }
}
#[automatically_derived]
impl ::core::convert::AsRef<::rpc::Channel> for CalculatorClient {
    fn as_ref(&self) -> &::rpc::Channel {
        &self.channel
    }
}
#[automatically_derived]
impl ::core::clone::Clone for CalculatorClient {
    fn clone(&self) -> Self {
        Self {
            channel: ::core::clone::Clone::clone(&self.channel),
        }
    }
}
#[automatically_derived]
impl ::core::fmt::Debug for CalculatorClient {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter
            .debug_struct("CalculatorClient")
            .field("channel", &self.channel)
            .finish()
    }
}
/// Serves a [`Calculator`]: add it to a server, or give it to [`CalculatorClient::in_process`].
pub struct CalculatorServer<Handler> {
    handler: ::std::sync::Arc<Handler>,
}
impl<Handler: Calculator> CalculatorServer<Handler> {
    /// Serves `handler`, or an `Arc` of it that the program goes on using.
    pub fn new(handler: impl ::core::convert::Into<Self>) -> Self {
        handler.into()
    }
}
#[automatically_derived]
impl<Handler: Calculator> ::core::convert::From<Handler> for CalculatorServer<Handler> {
    fn from(handler: Handler) -> Self {
        Self {
            handler: ::std::sync::Arc::new(handler),
        }
    }
}
#[automatically_derived]
impl<Handler: Calculator> ::core::convert::From<::std::sync::Arc<Handler>>
for CalculatorServer<Handler> {
    fn from(handler: ::std::sync::Arc<Handler>) -> Self {
        Self { handler }
    }
}
#[automatically_derived]
impl<Handler> ::core::clone::Clone for CalculatorServer<Handler> {
    fn clone(&self) -> Self {
        Self {
            handler: ::core::clone::Clone::clone(&self.handler),
        }
    }
}
#[automatically_derived]
impl<Handler> ::core::fmt::Debug for CalculatorServer<Handler> {
    fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        formatter.debug_struct("CalculatorServer").finish_non_exhaustive()
    }
}
#[automatically_derived]
#[allow(dead_code)]
impl<Handler: Calculator> ::rpc::Service for CalculatorServer<Handler> {
    const NAME: &'static str = "Calculator";
    const METHODS: &'static [::rpc::Method] = &[
        ::rpc::Method::new("add", &["a", "b"]),
        ::rpc::Method::new("divide", &["dividend", "divisor"]).idempotent(),
        ::rpc::Method::new("digest", &["name", "data"]),
        ::rpc::Method::new("log", &["line"]).oneway(),
    ];
    async fn dispatch(&self, request: &::rpc::Request) -> ::rpc::Reply {
        let mut arguments = request.arguments()?;
        match request.method() {
            "add" => {
                request
                    .reply(
                        Calculator::add(
                                &*self.handler,
                                arguments.next()?,
                                arguments.next()?,
                            )
                            .await,
                    )
            }
            "divide" => {
                request
                    .result(
                        Calculator::divide(
                                &*self.handler,
                                arguments.next()?,
                                arguments.next()?,
                            )
                            .await,
                    )
            }
            "digest" => {
                request
                    .reply(
                        Calculator::digest(
                                &*self.handler,
                                arguments.next()?,
                                arguments.next()?,
                            )
                            .await,
                    )
            }
            "log" => {
                request.reply(Calculator::log(&*self.handler, arguments.next()?).await)
            }
            _ => request.unimplemented(),
        }
    }
}

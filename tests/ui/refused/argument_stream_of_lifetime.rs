use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Streaming<Cow<'_, str>>);
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> std::borrow::Cow<'_, str>;
}

fn main() {}

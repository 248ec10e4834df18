use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: impl Into<String>);
}

fn main() {}

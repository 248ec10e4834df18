use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Vec<_>);
}

fn main() {}

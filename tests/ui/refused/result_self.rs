use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Self;
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> impl Stream;
}

fn main() {}

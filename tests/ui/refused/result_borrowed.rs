use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> &str;
}

fn main() {}

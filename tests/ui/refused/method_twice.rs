use rpc::service;

#[service]
trait Refused {
    async fn method(&self);
    async fn method(&self);
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    async fn method(&mut self);
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    const async fn method(&self);
}

fn main() {}

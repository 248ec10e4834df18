use rpc::service;

#[service]
trait Refused {
    async fn method(&'static self);
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    #[rpc(name = 5)]
    async fn method(&self);
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    #[rpc]
    async fn method(&self);
}

fn main() {}

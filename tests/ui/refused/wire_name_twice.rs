use rpc::service;

#[service]
trait Refused {
    async fn first(&self);
    #[rpc(name = "first")]
    async fn second(&self);
}

fn main() {}

use rpc::service;

#[service]
trait Refused {
    async fn first(&self);
    #[rpc(alias = "first")]
    async fn second(&self);
}

fn main() {}

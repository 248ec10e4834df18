use rpc::service;

#[service]
trait Refused {
    #[rpc(name = "")]
    async fn method(&self);
}

fn main() {}

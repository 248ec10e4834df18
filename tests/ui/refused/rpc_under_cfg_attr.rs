use rpc::service;

#[service]
trait Refused {
    #[cfg_attr(unix, rpc(idempotent))]
    async fn method(&self);
}

fn main() {}

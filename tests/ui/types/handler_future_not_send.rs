use rpc::service;

#[service]
trait Types {
    async fn method(&self) -> u8;
}

struct Handler;

impl Types for Handler {
    async fn method(&self) -> u8 {
        let shared = std::rc::Rc::new(3);
        std::future::ready(()).await;
        *shared
    }
}

fn main() {}

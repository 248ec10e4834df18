use rpc::service;

#[service]
trait Types {
    async fn method(&self) -> u8 {
        let shared = std::rc::Rc::new(3);
        self.other().await;
        *shared
    }
    async fn other(&self);
}

fn main() {}

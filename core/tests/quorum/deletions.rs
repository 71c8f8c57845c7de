//! DeleteRecords where there are replicas: what is deleted is deleted on whoever may lead next.

use ottla_wire::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use ottla_wire::{ApiKey, ErrorCode, Message, Reader};

use crate::nearest::{stands, written};
use crate::world::World;

const VERSION: i16 = 2;

fn ask(world: &mut World, node: usize, offset: i64, timeout_ms: i32) -> u64 {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let request = DeleteRecordsRequest { topics: vec![DeleteRecordsTopic { name: "r", partitions }], timeout_ms };
    world.read((node, None), ApiKey::DeleteRecords, VERSION, &request)
}

fn answer(world: &mut World, link: u64) -> Option<ErrorCode> {
    let (_, bytes) = world.answer_to(link, ApiKey::DeleteRecords, VERSION)?;
    let answer = DeleteRecordsResponse::decode(&mut Reader::new(&bytes), VERSION).unwrap();
    Some(answer.topics[0].partitions[0].error_code)
}

fn log_start(world: &World, node: usize) -> i64 {
    let view = world.machine(node).view();
    view.partitions.iter().find(|it| it.topic == "r" && it.partition == 0).unwrap().log_start
}

#[test]
fn records_are_deleted_when_all_replicas_in_service_have_deleted_them() {
    let (mut world, leader, followers) = written(&[]);
    let (high_watermark, _) = stands(&world, leader);
    assert!(high_watermark > 10, "{high_watermark}");
    world.cut_off(followers[0]);
    let hasty = ask(&mut world, leader, 5, 300);
    let patient = ask(&mut world, leader, 10, 60_000);
    world.run(600);
    assert_eq!(answer(&mut world, hasty), Some(ErrorCode::REQUEST_TIMED_OUT));
    assert_eq!((log_start(&world, leader), log_start(&world, followers[0])), (10, 0));
    let again = ask(&mut world, leader, 10, 60_000);
    world.run(100);
    assert_eq!((answer(&mut world, patient), answer(&mut world, again)), (None, None));
    world.heal();
    world.run(3_000);
    assert_eq!([leader, followers[0], followers[1]].map(|node| log_start(&world, node)), [10; 3]);
    let told = (answer(&mut world, patient), answer(&mut world, again));
    assert_eq!(told, (Some(ErrorCode::NONE), Some(ErrorCode::NONE)));
}

#[test]
fn who_is_out_of_service_is_not_waited_for() {
    let (mut world, leader, followers) = written(&[]);
    world.cut_off(followers[0]);
    let link = ask(&mut world, leader, 10, 60_000);
    world.run(20_000);
    assert_eq!(answer(&mut world, link), Some(ErrorCode::NONE));
    assert_eq!(log_start(&world, followers[0]), 0, "it is cut off all the time");
}

//! A member of a consumer group leaves, for good or for a while, or an operator removes it.

use std::sync::Arc;

use ottla_wire::ErrorCode;

use super::LEFT_FOR_A_WHILE;
use super::draft::{Draft, Refused};
use crate::coordinator::answer::{ConsumerHeartbeatAnswer, LeftMember};
use crate::coordinator::consumer_image::{ConsumerChange, CurrentAssignment, MemberState, Owned};
use crate::coordinator::request::{ConsumerHeartbeatRequest, LeaveRequest, LeavingMember};

impl Draft<'_> {
    /// A member says that it leaves.
    pub fn leave(&mut self, request: &ConsumerHeartbeatRequest<'_>) -> Result<ConsumerHeartbeatAnswer, Refused> {
        let member = self.find(request.member_id, request.instance_id)?;
        if request.member_epoch == LEFT_FOR_A_WHILE {
            // What it has is kept for it until its session is over.
            let before = self.image.current_of(&member);
            let current = CurrentAssignment {
                epoch: LEFT_FOR_A_WHILE,
                previous_epoch: before.epoch,
                state: MemberState::Stable,
                assigned: before.assigned.clone(),
                revoking: Owned::new(),
            };
            self.push(ConsumerChange::Current { member: member.clone(), current: Some(Arc::new(current)) });
        } else {
            self.remove(&member);
        }
        Ok(ConsumerHeartbeatAnswer {
            member_id: Some(member),
            member_epoch: request.member_epoch,
            ..ConsumerHeartbeatAnswer::default()
        })
    }

    /// The member that a request is of.
    pub fn find(&self, id: &str, instance: Option<&str>) -> Result<Arc<str>, Refused> {
        let known = self.image.members.get_key_value(id).map(|(id, _)| id.clone());
        let Some(instance) = instance else {
            let unknown = || {
                let what = format!("Member {id} is not a member of group {}.", self.group);
                Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, what)
            };
            return known.ok_or_else(unknown);
        };
        match self.image.instances.get(instance) {
            None => Err(Refused::new(ErrorCode::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown."))),
            Some(owner) if **owner != *id => {
                let what = format!("Static member {id} with instance id {instance} was fenced by member {owner}.");
                Err(Refused::new(ErrorCode::FENCED_INSTANCE_ID, what))
            }
            Some(owner) => Ok(owner.clone()),
        }
    }

    /// LeaveGroup: members of the classic protocol leave, or an operator removes static members.
    pub fn leave_classic(&mut self, request: &LeaveRequest<'_>) -> Vec<LeftMember> {
        let mut left = Vec::new();
        for leaving in &request.members {
            let found = self.find_classic(leaving);
            if let Ok(member) = &found {
                self.remove(member);
            }
            left.push(LeftMember::new(leaving, found.err().unwrap_or(ErrorCode::NONE)));
        }
        left
    }

    fn find_classic(&self, leaving: &LeavingMember<'_>) -> Result<Arc<str>, ErrorCode> {
        if let (Some(instance), "") = (leaving.instance_id, leaving.member_id) {
            return self.image.instances.get(instance).cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        let member = self.find(leaving.member_id, leaving.instance_id).map_err(|refused| refused.code)?;
        let is_classic = self.image.members.get(&member).is_some_and(|it| it.classic.is_some());
        if is_classic { Ok(member) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }
}

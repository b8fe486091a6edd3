"""OpenSearch's own Python client against a daemon: the list at the end of the reference on clients, and the four
stories of OpenSearch's API specification, each with its bodies and codes.

usage: opensearch.py URL TOKEN_FILE
"""

import sys
from urllib.parse import urlsplit

from opensearchpy import AuthenticationException, AuthorizationException, OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError, RequestError

url, token_file = sys.argv[1:]
token = open(token_file).read().strip()
address = urlsplit(url)
where = [{"host": address.hostname, "port": address.port}]
client = OpenSearch(where, http_auth=("snapkeep", token), timeout=60)


def daily(**changes):
    policy = {
        "description": "Daily snapshot policy",
        "enabled": True,
        "creation": {
            "schedule": {"cron": {"expression": "0 8 * * *", "timezone": "UTC"}},
            "time_limit": "1h",
        },
        "deletion": {
            "schedule": {"cron": {"expression": "0 1 * * *", "timezone": "America/Los_Angeles"}},
            "condition": {"max_age": "7d", "max_count": 21, "min_count": 7},
            "time_limit": "1h",
        },
        "snapshot_config": {
            "date_format": "yyyy-MM-dd-HH:mm",
            "timezone": "America/Los_Angeles",
            "indices": "*",
            "repository": "s3-repo",
            "ignore_unavailable": "true",
            "include_global_state": "false",
            "partial": "true",
            "metadata": {"any_key": "any_value"},
        },
        "notification": {
            "channel": {"id": "NC3OpoEBzEoHMX183R3f"},
            "conditions": {"creation": True, "deletion": False, "failure": False, "time_limit_exceeded": False},
        },
    }
    policy.update(changes)
    return {name: value for name, value in policy.items() if value is not None}


OWN = ("name", "schema_version", "schedule", "last_updated_time", "enabled_time")


def sent(policy):
    return {name: value for name, value in policy.items() if name not in OWN}


def raises(error, status, call, **arguments):
    try:
        answer = call(**arguments)
    except error as found:
        assert found.status_code == status, found
        assert found.info["status"] == status and found.info["error"]["root_cause"], found.info
        return found
    raise AssertionError(f"{error.__name__} was expected, and there was an answer: {answer}")


def names(answer):
    return sorted(policy["name"] for policy in answer["policies"])


def life_of_a_policy():
    sm = client.sm
    made = sm.create_policy(policy_name="daily", body=daily())
    assert made["_id"] == "daily-sm-policy" and made["_version"] == 1, made
    assert sent(made["sm_policy"]) == daily(), made
    raises(ConflictError, 409, sm.create_policy, policy_name="daily", body=daily())
    assert sm.get_policy(policy_name="daily") == made
    for name in ("a1", "a2", "b1"):
        sm.create_policy(policy_name=name, body=daily())
    page = sm.get_policies(from_=1, size=2, sortField="sm_policy.name", sortOrder="desc", queryString="a* OR daily")
    assert page["total_policies"] == 3, page
    assert [entry["sm_policy"]["name"] for entry in page["policies"]] == ["a2", "a1"], page
    numbers = {"if_seq_no": made["_seq_no"], "if_primary_term": made["_primary_term"]}
    updated = sm.update_policy(policy_name="daily", body=daily(description="next"), **numbers)
    assert updated["_version"] == 2 and updated["sm_policy"]["description"] == "next", updated
    assert updated["_seq_no"] > made["_seq_no"], updated
    raises(ConflictError, 409, sm.update_policy, policy_name="daily", body=daily(), **numbers)
    raises(RequestError, 400, sm.update_policy, policy_name="daily", body=daily())
    assert names(sm.explain_policy(policy_name="daily")) == ["daily"]
    assert names(sm.explain_policy(policy_name="a*")) == ["a1", "a2"]
    assert names(sm.explain_policy(policy_name="a1,b1,nobody")) == ["a1", "b1"]
    assert names(sm.explain_policy(policy_name="nobody")) == []
    explained = sm.explain_policy(policy_name="daily")["policies"][0]
    assert explained["policy_seq_no"] == updated["_seq_no"], explained
    assert explained["creation"]["current_state"] == "CREATION_START", explained
    assert explained["creation"]["trigger"]["time"] > 0, explained
    assert sm.stop_policy(policy_name="daily") == {"acknowledged": True}
    assert sm.get_policy(policy_name="daily")["sm_policy"]["enabled"] is False
    assert sm.start_policy(policy_name="daily") == {"acknowledged": True}
    assert sm.get_policy(policy_name="daily")["sm_policy"]["enabled"] is True
    raises(RequestError, 400, sm.create_policy, policy_name="Bad", body=daily())
    unknown = daily(deletion={"condition": {"max_counts": 3}})
    told = raises(RequestError, 400, sm.create_policy, policy_name="bad", body=unknown)
    assert "deletion.condition.max_counts" in told.info["error"]["reason"], told.info
    gone = sm.delete_policy(policy_name="daily")
    assert gone["result"] == "deleted" and gone["_id"] == "daily-sm-policy", gone
    raises(NotFoundError, 404, sm.get_policy, policy_name="daily")
    raises(NotFoundError, 404, sm.delete_policy, policy_name="daily")
    raises(NotFoundError, 404, sm.start_policy, policy_name="daily")
    for name in ("a1", "a2", "b1"):
        client.plugins.sm.delete_policy(policy_name=name)
    assert sm.get_policies() == {"policies": [], "total_policies": 0}


def story_of_policies():
    sm = client.sm
    native = daily()
    native["snapshot_config"].update(ignore_unavailable=True, include_global_state=False, partial=True)
    made = sm.create_policy(policy_name="daily-policy", body=native)
    read = sm.get_policy(policy_name="daily-policy")
    for required in ("_id", "_version", "_seq_no", "_primary_term", "sm_policy"):
        assert required in read, read
    for required in ("creation", "description", "name", "snapshot_config"):
        assert required in read["sm_policy"], read
    interval = read["sm_policy"]["schedule"]["interval"]
    assert interval["unit"] in ("Days", "Hours", "Minutes") and {"period", "start_time"} <= set(interval), read
    listed = sm.get_policies(from_=0, size=20, queryString="*")
    assert set(listed) == {"policies", "total_policies"}, listed
    changed = daily(description="Updated", deletion=None)
    changed["creation"] = {"schedule": {"cron": {"expression": "0 9 * * *", "timezone": "UTC"}}, "time_limit": "30m"}
    changed["snapshot_config"] = {"repository": "other-repo", "date_format": "yyyy-MM-dd", "indices": "my-index-*"}
    numbers = {"if_seq_no": made["_seq_no"], "if_primary_term": made["_primary_term"]}
    updated = sm.update_policy(policy_name="daily-policy", body=changed, **numbers)
    assert sent(updated["sm_policy"]) == changed, updated
    gone = sm.delete_policy(policy_name="daily-policy")
    for required in ("_id", "_index", "_primary_term", "_seq_no", "_shards", "_version", "result"):
        assert required in gone, gone
    raises(NotFoundError, 404, sm.get_policy, policy_name="daily-policy")


def story_of_explain():
    client.sm.create_policy(policy_name="daily-policy", body=daily())
    explained = client.sm.explain_policy(policy_name="daily-policy")
    assert names(explained) == ["daily-policy"], explained
    client.sm.delete_policy(policy_name="daily-policy")


def stories_of_start_and_stop():
    for enabled, call in ((False, client.sm.start_policy), (True, client.sm.stop_policy)):
        client.sm.create_policy(policy_name="daily-policy", body=daily(enabled=enabled))
        assert call(policy_name="daily-policy") == {"acknowledged": True}
        assert client.sm.get_policy(policy_name="daily-policy")["sm_policy"]["enabled"] is not enabled
        client.sm.delete_policy(policy_name="daily-policy")


def the_operators_wrapper():
    """The Kubernetes operator sends the policy in a wrapper, again and again."""
    path = "/_plugins/_sm/policies/operators"
    body = {"policy": {**daily(), "name": "operators"}}
    made = client.transport.perform_request("POST", path, body=body)
    for _ in range(3):
        numbers = {"if_seq_no": made["_seq_no"], "if_primary_term": made["_primary_term"]}
        assert client.transport.perform_request("PUT", path, params=numbers, body=body) == made
    client.transport.perform_request("DELETE", path)


def nobody_without_a_token():
    for auth, error in ((None, AuthenticationException), (("snapkeep", "wrong"), AuthenticationException)):
        stranger = OpenSearch(where, http_auth=auth, timeout=60, max_retries=0)
        try:
            stranger.sm.get_policies()
        except (error, AuthorizationException) as found:
            assert found.status_code == 401, found
        else:
            raise AssertionError("a stranger was answered")


for story in (
    nobody_without_a_token,
    life_of_a_policy,
    story_of_policies,
    story_of_explain,
    stories_of_start_and_stop,
    the_operators_wrapper,
):
    story()
    print(f"opensearch-py: {story.__name__} went well")

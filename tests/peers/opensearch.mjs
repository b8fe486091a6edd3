// OpenSearch's own JavaScript client against a daemon: most of the list and the stories that opensearch.py tells.
// usage: node opensearch.mjs URL TOKEN_FILE      (PEERS_MODULES names where the client is)

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.PEERS_MODULES}/`);
const { Client } = require('@opensearch-project/opensearch');

const [url, tokenFile] = process.argv.slice(2);
const token = readFileSync(tokenFile, 'utf8').trim();
const client = new Client({ node: url, auth: { username: 'snapkeep', password: token }, maxRetries: 0 });

const daily = (changes = {}) => ({
  description: 'Daily snapshot policy',
  enabled: true,
  creation: { schedule: { cron: { expression: '0 8 * * *', timezone: 'UTC' } }, time_limit: '1h' },
  deletion: {
    schedule: { cron: { expression: '0 1 * * *', timezone: 'America/Los_Angeles' } },
    condition: { max_age: '7d', max_count: 21, min_count: 7 },
    time_limit: '1h',
  },
  snapshot_config: {
    date_format: 'yyyy-MM-dd-HH:mm',
    timezone: 'America/Los_Angeles',
    indices: '*',
    repository: 's3-repo',
    ignore_unavailable: 'true',
    include_global_state: 'false',
    partial: 'true',
    metadata: { any_key: 'any_value' },
  },
  notification: {
    channel: { id: 'NC3OpoEBzEoHMX183R3f' },
    conditions: { creation: true, deletion: false, failure: false, time_limit_exceeded: false },
  },
  ...changes,
});

const sent = ({ name, schema_version, schedule, last_updated_time, enabled_time, ...policy }) => policy;
const names = ({ body }) => body.policies.map((policy) => policy.name).sort();
const refused = async (status, call) => {
  await assert.rejects(call, (error) => {
    assert.equal(error.statusCode, status, JSON.stringify(error.body));
    assert.equal(error.body.status, status);
    assert.ok(error.body.error.root_cause.length > 0);
    return true;
  });
};

const stories = {
  async life_of_a_policy() {
    const { sm } = client;
    const made = await sm.createPolicy({ policy_name: 'daily', body: daily() });
    assert.equal(made.statusCode, 201);
    assert.equal(made.headers.location, '/_plugins/_sm/policies/daily');
    assert.deepEqual(sent(made.body.sm_policy), daily());
    await refused(409, sm.createPolicy({ policy_name: 'daily', body: daily() }));
    assert.deepEqual((await sm.getPolicy({ policy_name: 'daily' })).body, made.body);
    for (const name of ['a1', 'a2', 'b1']) await sm.createPolicy({ policy_name: name, body: daily() });
    const page = await sm.getPolicies({
      from: 1, size: 2, sortField: 'sm_policy.name', sortOrder: 'desc', queryString: 'a* OR daily',
    });
    assert.equal(page.body.total_policies, 3);
    assert.deepEqual(page.body.policies.map((entry) => entry.sm_policy.name), ['a2', 'a1']);
    const numbers = { if_seq_no: made.body._seq_no, if_primary_term: made.body._primary_term };
    const updated = await sm.updatePolicy({ policy_name: 'daily', body: daily({ description: 'next' }), ...numbers });
    assert.equal(updated.body._version, 2);
    assert.equal(updated.body.sm_policy.description, 'next');
    await refused(409, sm.updatePolicy({ policy_name: 'daily', body: daily(), ...numbers }));
    assert.deepEqual(names(await sm.explainPolicy({ policy_name: 'daily' })), ['daily']);
    assert.deepEqual(names(await sm.explainPolicy({ policy_name: 'a*' })), ['a1', 'a2']);
    // Sent as a1%2Cb1%2Cnobody.
    assert.deepEqual(names(await sm.explainPolicy({ policy_name: 'a1,b1,nobody' })), ['a1', 'b1']);
    assert.deepEqual(names(await sm.explainPolicy({ policy_name: 'nobody' })), []);
    assert.deepEqual((await sm.stopPolicy({ policy_name: 'daily' })).body, { acknowledged: true });
    assert.equal((await sm.getPolicy({ policy_name: 'daily' })).body.sm_policy.enabled, false);
    assert.deepEqual((await sm.startPolicy({ policy_name: 'daily' })).body, { acknowledged: true });
    assert.equal((await sm.deletePolicy({ policy_name: 'daily' })).body.result, 'deleted');
    await refused(404, sm.getPolicy({ policy_name: 'daily' }));
    await refused(404, sm.deletePolicy({ policy_name: 'daily' }));
    await refused(400, sm.createPolicy({ policy_name: 'Bad', body: daily() }));
    for (const name of ['a1', 'a2', 'b1']) await sm.deletePolicy({ policy_name: name });
    assert.deepEqual((await sm.getPolicies()).body, { policies: [], total_policies: 0 });
  },

  async story_of_policies() {
    const { sm } = client;
    const made = (await sm.createPolicy({ policy_name: 'daily-policy', body: daily() })).body;
    const read = (await sm.getPolicy({ policy_name: 'daily-policy' })).body;
    for (const required of ['_id', '_version', '_seq_no', '_primary_term', 'sm_policy']) assert.ok(required in read);
    const listed = (await sm.getPolicies({ from: 0, size: 20, queryString: '*' })).body;
    assert.deepEqual(Object.keys(listed).sort(), ['policies', 'total_policies']);
    const { deletion, ...changed } = daily({
      description: 'Updated',
      creation: { schedule: { cron: { expression: '0 9 * * *', timezone: 'UTC' } }, time_limit: '30m' },
      snapshot_config: { repository: 'other-repo', date_format: 'yyyy-MM-dd', indices: 'my-index-*' },
    });
    const numbers = { if_seq_no: made._seq_no, if_primary_term: made._primary_term };
    const updated = await sm.updatePolicy({ policy_name: 'daily-policy', body: changed, ...numbers });
    assert.equal(updated.statusCode, 200);
    assert.deepEqual(sent(updated.body.sm_policy), changed);
    const gone = (await sm.deletePolicy({ policy_name: 'daily-policy' })).body;
    for (const required of ['_id', '_index', '_primary_term', '_seq_no', '_shards', '_version', 'result']) {
      assert.ok(required in gone, required);
    }
    await refused(404, sm.getPolicy({ policy_name: 'daily-policy' }));
  },

  async stories_of_explain_start_and_stop() {
    const { sm } = client;
    for (const [enabled, call] of [[false, 'startPolicy'], [true, 'stopPolicy']]) {
      await sm.createPolicy({ policy_name: 'daily-policy', body: daily({ enabled }) });
      assert.deepEqual(names(await sm.explainPolicy({ policy_name: 'daily-policy' })), ['daily-policy']);
      assert.deepEqual((await sm[call]({ policy_name: 'daily-policy' })).body, { acknowledged: true });
      assert.equal((await sm.getPolicy({ policy_name: 'daily-policy' })).body.sm_policy.enabled, !enabled);
      await sm.deletePolicy({ policy_name: 'daily-policy' });
    }
  },
};

for (const [name, story] of Object.entries(stories)) {
  await story();
  console.log(`opensearch-js: ${name} went well`);
}

// node-vault on its usual day, on a server that serves this test alone.
'use strict';

const assert = require('node:assert/strict');
const { test, before } = require('node:test');
const vault = require('node-vault');

const endpoint = process.env.TEST_ADDR;
const as = (token) => vault({ endpoint, token });
const root = as(process.env.TEST_TOKEN);
/** A client with a token of its own: whoever makes one with node-vault goes on with that. */
const made = async (options) => {
  const client = as(process.env.TEST_TOKEN);
  await client.tokenCreate(options);
  return client;
};
const encoded = (text) => Buffer.from(text).toString('base64');

const RULES = `
path "secret/data/app/*" { capabilities = ["create", "read", "update", "patch", "delete"] }
path "secret/metadata/app/*" { capabilities = ["list", "read"] }
path "secret/destroy/app/*" { capabilities = ["update"] }
path "transit/+/app" { capabilities = ["update"] }
path "pki/issue/web" { capabilities = ["update"] }
path "database/creds/app" { capabilities = ["read"] }
`;

/** The action is refused with this status, in these words. */
async function refused(action, status, words = '') {
  await assert.rejects(action, (error) => {
    assert.equal(error.response?.statusCode, status, error.message);
    assert.ok(error.message.includes(words), error.message);
    return true;
  });
}

let app;

before(async () => {
  await root.addPolicy({ name: 'app', rules: RULES });
  await root.enableAuth({ mount_point: 'approle', type: 'approle' });
  await root.enableAuth({ mount_point: 'userpass', type: 'userpass' });
  for (const type of ['transit', 'pki', 'database']) {
    await root.mount({ mount_point: type, type });
  }
  await root.addApproleRole({ role_name: 'app', policies: 'app', token_ttl: 1200 });
  const { data: { role_id } } = await root.getApproleRoleId({ role_name: 'app' });
  const { data: { secret_id } } = await root.getApproleRoleSecret({ role_name: 'app' });
  app = as('');
  await refused(() => app.approleLogin({ role_id, secret_id: 'wrong' }), 400, 'invalid');
  const { auth } = await app.approleLogin({ role_id, secret_id });
  assert.equal(app.token, auth.client_token);
  assert.deepEqual([auth.lease_duration, auth.renewable, auth.policies], [1200, true, ['app', 'default']]);
});

test('the server is there and open', async () => {
  const [status, health, initialized] = [await root.status(), await root.health(), await root.initialized()];
  assert.deepEqual([status.sealed, health.sealed, initialized.initialized], [false, false, true]);
  assert.ok((await root.policies()).policies.includes('app'));
  assert.ok('approle/' in (await root.auths()).data);
  assert.ok('transit/' in (await root.mounts()).data);
});

test('tokens are looked up, renewed and revoked', async () => {
  assert.equal((await app.tokenLookupSelf()).data.path, 'auth/approle/login');
  assert.equal((await app.tokenRenewSelf({ increment: 600 })).auth.lease_duration, 600);
  const child = await made({ policies: ['app'], ttl: '5m' });
  assert.equal((await root.tokenLookup({ token: child.token })).data.creation_ttl, 300);
  await child.tokenRevokeSelf();
  await refused(() => child.tokenLookupSelf(), 403, 'permission denied');
  await refused(() => app.tokenCreate({ ttl: '5m' }), 403, 'permission denied');
});

test('a token is renewed before it ends', async () => {
  const client = await made({ policies: ['app'], ttl: '3s' });
  const renewed = new Promise((resolve, reject) => {
    client.once('token:renewed', resolve);
    client.once('token:error:renew', reject);
  });
  await client.startTokenRenewal({ ttl: 3, increment: 3600, renewFraction: 0.3 });
  const keep = setInterval(() => {}, 100);
  assert.equal((await renewed).auth.lease_duration, 3600);
  clearInterval(keep);
  client.stopAllRenewals();
});

test('users log in', async () => {
  await root.write('auth/userpass/users/ann', { password: 'a good password', policies: 'app' });
  const ann = as('');
  await ann.userpassLogin({ username: 'ann', password: 'a good password' });
  assert.equal((await ann.tokenLookupSelf()).data.meta.username, 'ann');
  await refused(() => as('').userpassLogin({ username: 'ann', password: 'wrong' }), 400, 'invalid username or password');
});

test('secrets are kept, versioned, patched and destroyed', async () => {
  const path = 'secret/data/app/db';
  assert.equal((await app.write(path, { data: { user: 'ann', word: 'one' } })).data.version, 1);
  await refused(() => app.write(path, { data: {}, options: { cas: 0 } }), 400, 'check-and-set');
  assert.equal((await app.update(path, { data: { word: 'two' } })).data.version, 2);
  assert.deepEqual((await app.read(path)).data.data, { user: 'ann', word: 'two' });
  assert.deepEqual((await app.read(`${path}?version=1`)).data.data, { user: 'ann', word: 'one' });
  assert.deepEqual((await app.list('secret/metadata/app')).data.keys, ['db']);
  await app.destroySecretVersions({ path: 'app/db', versions: [1] });
  await refused(() => app.read(`${path}?version=1`), 404);
  await app.delete(path);
  await refused(() => app.read(path), 404);
  await refused(() => app.read('secret/data/other'), 403, 'permission denied');
  await refused(() => root.read('nowhere/at/all'), 404, 'no handler for route');
});

test('answers are wrapped', async () => {
  await root.write('secret/data/app/wrapped', { data: { word: 'three' } });
  const { wrap_info } = await app.read('secret/data/app/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } });
  assert.equal(wrap_info.creation_path, 'secret/data/app/wrapped');
  const opened = await as('').unwrap({ token: wrap_info.token });
  assert.deepEqual(opened.data.data, { word: 'three' });
  await refused(() => as('').unwrap({ token: wrap_info.token }), 400, 'wrapping token is not valid');
});

test('data are signed and encrypted', async () => {
  await root.transitCreateKey({ name: 'app', type: 'ed25519' });
  await root.transitCreateKey({ name: 'sealed' });
  const input = encoded('hello');
  const { data: { signature } } = await app.write('transit/sign/app', { input });
  assert.equal((await app.write('transit/verify/app', { input, signature })).data.valid, true);
  const { data: { ciphertext } } = await root.encryptData({ name: 'sealed', plaintext: input });
  await root.write('transit/keys/sealed/rotate', {});
  const rewrapped = (await root.rewrapData({ name: 'sealed', ciphertext })).data.ciphertext;
  assert.ok(rewrapped.startsWith('vault:v2:'), rewrapped);
  assert.equal((await root.decryptData({ name: 'sealed', ciphertext: rewrapped })).data.plaintext, input);
  await refused(() => app.encryptData({ name: 'sealed', plaintext: input }), 403);
});

test('certificates are issued and revoked', async () => {
  await root.write('pki/root/generate/internal', { common_name: 'Example CA' });
  await root.write('pki/roles/web', { allowed_domains: 'example.com', allow_subdomains: true, ttl: '72h' });
  const { data } = await app.write('pki/issue/web', { common_name: 'www.example.com' });
  assert.match(data.certificate, /^-----BEGIN CERTIFICATE-----/);
  await refused(() => app.write('pki/issue/web', { common_name: 'example.org' }), 400, 'not allowed');
  assert.ok((await root.write('pki/revoke', { serial_number: data.serial_number })).data.revocation_time > 0);
});

test('database users come with leases', { skip: !process.env.TEST_POSTGRES }, async () => {
  await root.write('database/config/main', {
    plugin_name: 'postgresql-database-plugin', allowed_roles: '*', connection_url: process.env.TEST_POSTGRES,
    username: 'postgres', password: process.env.TEST_POSTGRES_PASSWORD,
  });
  const creation = 'CREATE ROLE "{{name}}" WITH LOGIN PASSWORD \'{{password}}\' VALID UNTIL \'{{expiration}}\'';
  await root.write('database/roles/app', {
    db_name: 'main', creation_statements: creation, default_ttl: '1h', max_ttl: '24h',
  });
  const { data, lease_id } = await app.generateDatabaseCredentials({ databasePath: 'database', name: 'app' });
  assert.match(data.username, /^v-approle-app-/);
  assert.equal((await root.renew({ lease_id, increment: 7200 })).lease_duration, 7200);
  await root.revoke({ lease_id });
  await refused(() => root.renew({ lease_id }), 400, 'lease not found');
});

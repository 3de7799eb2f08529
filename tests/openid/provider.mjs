// An OpenID provider that others made, and a person who signs in at it. MODULES is the folder of the modules.
//
//   provider.mjs serve PORT SECRET BACK    serves the client "keyward" with its secret, and sends browsers back to BACK
//   provider.mjs sign-in NAME URL          does what a browser does for NAME at URL, until nothing is left to be filled in
import { argv, env } from 'node:process';

const [, , what, ...told] = argv;

async function serve(port, secret, back) {
  const { Provider } = await import(`${env.MODULES}/oidc-provider/lib/index.js`);
  const issuer = `http://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'keyward',
      client_secret: secret,
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: [back],
    }],
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
    claims: { openid: ['sub'], profile: ['name'] },
    // People's names are in the token itself.
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `The person ${id}` }) }),
  });
  provider.listen(Number(port), '127.0.0.1', () => console.log(`serving ${issuer}`));
}

async function signIn(name, url) {
  const jar = new Map();
  const open = async (at, form) => {
    const response = await fetch(at, {
      method: form ? 'POST' : 'GET',
      body: form,
      redirect: 'manual',
      headers: { cookie: [...jar].map(([key, value]) => `${key}=${value}`).join('; ') },
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, key, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      if (value) jar.set(key, value); else jar.delete(key);
    }
    const next = response.headers.get('location');
    return next ? open(new URL(next, at)) : { at, status: response.status, page: await response.text() };
  };
  let shown = await open(url);
  for (let step = 0; step < 10; step += 1) {
    const form = /<form[^>]*>([\s\S]*?)<\/form>/.exec(shown.page);
    if (!form) break;
    const [, action] = /action="([^"]*)"/.exec(form[0]) ?? [];
    const fields = new URLSearchParams();
    for (const [input] of form[0].matchAll(/<input[^>]*>/g)) {
      const [, key] = /name="([^"]*)"/.exec(input) ?? [];
      const [, value = ''] = /value="([^"]*)"/.exec(input) ?? [];
      if (key) fields.set(key, { login: name, password: 'any' }[key] ?? value);
    }
    shown = await open(new URL(action ?? '', shown.at), fields);
  }
  console.log(`${shown.status} ${/<title>([^<]*)/.exec(shown.page)?.[1] ?? ''}`);
}

await (what === 'serve' ? serve(...told) : signIn(...told));

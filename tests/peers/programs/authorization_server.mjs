// What Sentry has beside its API: an authorization server (oidc-provider), and before the API a door that only the
// server's living tokens open. Behind the door is what PRISM_PORT serves; with 0, nothing but who the token acts as.
//   node authorization_server.mjs PORT PRISM_PORT TOKEN_SECONDS
import { randomBytes } from 'node:crypto';
import { createServer, request } from 'node:http';
import { Provider } from 'oidc-provider';

const [port, prismPort, tokenSeconds] = process.argv.slice(2).map(Number);
const hour = 3600;
const seen = { calls: 0, refused: 0, refreshes: 0, revocations: 0, accessToken: '', refreshToken: '' };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  scopes: ['openid', 'org:read', 'project:read', 'event:read'],
  // What Sentry says about an account, for whoever may ask who it is.
  claims: { openid: ['sub', 'id', 'email', 'name'] },
  findAccount: (_, login) => ({
    accountId: login,
    claims: () => ({ sub: login, id: login, email: `${login}@example.com`, name: login }),
  }),
  cookies: { keys: [randomBytes(32).toString('hex')] },
  pkce: { required: () => true }, // S256 is the only method it knows
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: tokenSeconds, RefreshToken: hour, Grant: hour, Session: hour, Interaction: hour, IdToken: hour },
  features: {
    devInteractions: { enabled: true }, // its own pages: any login, any password
    introspection: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
  },
});
provider.on('grant.success', (ctx) => {
  if (ctx.oidc.params.grant_type === 'refresh_token') seen.refreshes += 1;
});
provider.on('grant.revoked', () => {
  seen.revocations += 1;
});
provider.on('refresh_token.saved', (token) => {
  seen.refreshToken = token.jti;
});
const authorize = provider.callback();

async function door(req, res) {
  const token = (req.headers.authorization ?? '').replace(/^Bearer /, '');
  const known = token && (await provider.AccessToken.find(token));
  seen.calls += 1;
  if (!known?.isValid) {
    seen.refused += 1;
    res.writeHead(401, { 'Content-Type': 'application/json' }).end('{"detail": "Invalid token"}');
    return;
  }
  seen.accessToken = token;
  if (!prismPort) {
    const { accountId } = known;
    const self = { id: accountId, email: `${accountId}@example.com`, name: accountId, username: accountId };
    res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(self));
    return;
  }
  const { method, url: path, headers } = req;
  const onwards = request({ host: '127.0.0.1', port: prismPort, method, path, headers }, (answer) => {
    res.writeHead(answer.statusCode, answer.headers);
    answer.pipe(res);
  });
  onwards.on('error', () => res.writeHead(502).end());
  req.pipe(onwards);
}

createServer((req, res) => {
  if (req.url.startsWith('/api/')) door(req, res);
  else if (req.url === '/_seen') res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(seen));
  else authorize(req, res);
}).listen(port, '127.0.0.1');

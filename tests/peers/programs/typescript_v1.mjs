// The TypeScript SDK's first line (handshake era): node typescript_v1.mjs URL KEY PROMPT [open]
// With `open` it declares URL elicitation: it prints "OPEN <link>", waits for a line, and calls again.
import { createInterface } from 'node:readline/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { UrlElicitationRequiredError } from '@modelcontextprotocol/sdk/types.js';

const [url, key, prompt, opens] = process.argv.slice(2);
const capabilities = opens ? { elicitation: { url: {} } } : {};
const client = new Client({ name: 'peer', version: '1' }, { capabilities });
const headers = { Authorization: `Bearer ${key}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const call = async () => {
  await client.listTools(); // so that it checks the answer against the tool's output schema
  return client.callTool({ name: 'use_sentry', arguments: { prompt } });
};

const result = await call().catch(async (error) => {
  if (!(error instanceof UrlElicitationRequiredError)) throw error;
  console.log(`OPEN ${error.elicitations[0].url}`);
  const person = createInterface({ input: process.stdin });
  await person.question('');
  person.close();
  return call();
});
console.log(JSON.stringify(result));
await client.close();

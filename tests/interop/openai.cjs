// aimock as an OpenAI server: told its fixtures, in its own format, by the first line on stdin, it tells its address by a line of JSON on
// stdout, and ends with its standard input. KEY in the environment is the only API key that it takes.
"use strict";

const { createInterface } = require("node:readline");
const { LLMock } = require("@copilotkit/aimock");

async function main() {
  const mock = new LLMock({ port: 0, strict: true, chunkSize: 4, auth: { apiKeys: [process.env.KEY] } });
  for await (const line of createInterface({ input: process.stdin })) {
    mock.addFixturesFromJSON(line);
    await mock.start();
    process.stdout.write(JSON.stringify({ url: mock.url }) + "\n");
  }
  await mock.stop();
}

main();

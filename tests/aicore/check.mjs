// SAP's AI SDK for JavaScript against a running Hoheit, as released: what a customer on BTP has, no more and no less.
//
// Takes AICORE_SERVICE_KEY by environment, as the SDK itself does, and expects the models that
// crates/partners/tests/it/aicore/sdk.rs starts; that test runs this script. Prints `ok NAME` or `FAILED NAME: why` for each case
// and ends with 1 if one failed.

import assert from 'node:assert/strict';
import { ConfigurationApi, DeploymentApi, ResourceGroupApi, ScenarioApi } from '@sap-ai-sdk/ai-api';
import { AzureOpenAiChatClient, AzureOpenAiEmbeddingClient } from '@sap-ai-sdk/foundation-models';
import {
  OrchestrationClient,
  OrchestrationEmbeddingClient,
  buildDpiMaskingProvider
} from '@sap-ai-sdk/orchestration';

const group = { 'AI-Resource-Group': 'default' };
const prompt = (content, more = {}) => ({ template: [{ role: 'user', content }], ...more });
const nano = (content, more = {}) => ({ promptTemplating: { prompt: prompt(content), model: { name: 'nano' } }, ...more });

/** The error that SAP's client threw: its response lies below what it was wrapped in. */
function refused(error) {
  for (let at = error; at; at = at.cause) if (at.response) return at.response;
  throw error;
}

async function refusal(run) {
  try {
    await run();
  } catch (error) {
    return refused(error);
  }
  assert.fail('it was not refused');
}

const cases = {
  async 'orchestration: a template is answered'() {
    const client = new OrchestrationClient(nano('Hi {{?name}}'));
    const answer = await client.chatCompletion({ placeholderValues: { name: 'Erika' } });
    assert.equal(answer.getContent(), 'Hello');
    assert.equal(answer.getFinishReason(), 'stop');
    assert.ok(answer.getTokenUsage().total_tokens > 0);
    assert.equal(answer.getAllMessages().length, 2);
  },

  async 'orchestration: messages, history and parameters'() {
    const client = new OrchestrationClient({
      promptTemplating: { model: { name: 'nano', version: 'latest', params: { max_tokens: 20, temperature: 0 } } }
    });
    const answer = await client.chatCompletion({
      messagesHistory: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Ho' }],
      messages: [{ role: 'user', content: 'And?' }]
    });
    assert.equal(answer.getContent(), 'Hello');
  },

  async 'orchestration: a stream'() {
    const client = new OrchestrationClient(nano('Hi', { promptTemplating: { prompt: prompt('Hi'), model: { name: 'counts' } } }));
    const response = await client.stream();
    const pieces = [];
    for await (const piece of response.stream.toContentStream()) pieces.push(piece);
    assert.ok(pieces.length > 1);
    assert.equal(pieces.join(''), 'tok0 tok1 tok2 tok3 tok4');
    assert.equal(response.getContent(), pieces.join(''));
    assert.equal(response.getFinishReason(), 'stop');
    assert.equal(response.getTokenUsage().completion_tokens, 5);
  },

  async 'orchestration: chunks of a stream'() {
    const client = new OrchestrationClient({ promptTemplating: { prompt: prompt('Hi'), model: { name: 'counts' } } });
    const response = await client.stream(undefined, undefined, { global: { chunk_size: 10 } });
    const pieces = [];
    for await (const piece of response.stream.toContentStream()) pieces.push(piece);
    assert.ok(pieces.slice(0, -1).every(piece => piece.length >= 10), pieces.join('|'));
    assert.equal(pieces.join(''), 'tok0 tok1 tok2 tok3 tok4');
  },

  async 'orchestration: pseudonyms come back as what they were'() {
    const masking = {
      masking_providers: [buildDpiMaskingProvider({ method: 'pseudonymization', entities: ['profile-email'] })]
    };
    const config = { promptTemplating: { prompt: prompt('Write to {{?to}}'), model: { name: 'masked' } }, masking };
    const request = { placeholderValues: { to: 'erika@example.de' } };
    const answer = await new OrchestrationClient(config).chatCompletion(request);
    assert.equal(answer.getContent(), 'Sent to erika@example.de.');
    const response = await new OrchestrationClient(config).stream(request);
    let text = '';
    for await (const piece of response.stream.toContentStream()) text += piece;
    assert.equal(text, 'Sent to erika@example.de.');
  },

  async 'orchestration: the next configuration answers'() {
    const model = name => ({ promptTemplating: { prompt: prompt('Hi'), model: { name } } });
    const answer = await new OrchestrationClient([model('gone'), model('nano')]).chatCompletion();
    assert.equal(answer.getContent(), 'Hello');
    assert.equal(answer.getIntermediateFailures().length, 1);
    const response = await new OrchestrationClient([model('gone'), model('nano')]).stream();
    let text = '';
    for await (const piece of response.stream.toContentStream()) text += piece;
    assert.equal(text, 'Hello');
  },

  async 'orchestration: tool calls'() {
    const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }];
    const config = { promptTemplating: { prompt: prompt('Wetter?', { tools }), model: { name: 'nano' } } };
    const answer = await new OrchestrationClient(config).chatCompletion();
    assert.equal(answer.getToolCalls()[0].function.name, 'weather');
  },

  async 'orchestration: what is refused says why'() {
    const filtering = { input: { filters: [{ type: 'azure_content_safety', config: { hate: 0 } }] } };
    const filtered = await refusal(() => new OrchestrationClient(nano('Hi', { filtering })).chatCompletion());
    assert.equal(filtered.status, 400);
    assert.match(filtered.data.error.message, /filtering/);
    const missing = await refusal(() => new OrchestrationClient(nano('Hi {{?name}}')).chatCompletion());
    assert.match(missing.data.error.message, /missing required parameters: name/);
    const streamed = await refusal(() => new OrchestrationClient(nano('Hi {{?name}}')).stream());
    assert.match(streamed.data.error.message, /missing required parameters: name/);
  },

  async 'orchestration: a stream that breaks is an error'() {
    const client = new OrchestrationClient({ promptTemplating: { prompt: prompt('Hi'), model: { name: 'breaks' } } });
    const response = await client.stream();
    await assert.rejects(async () => {
      for await (const piece of response.stream.toContentStream()) void piece;
    });
  },

  async 'orchestration: embeddings'() {
    const client = new OrchestrationEmbeddingClient({ embeddings: { model: { name: 'nano' } } });
    const answer = await client.embed({ input: ['one', 'two'], type: 'document' });
    assert.equal(answer.getEmbeddings().length, 2);
    assert.deepEqual(answer.getEmbeddings()[0].embedding, [0.5, -0.25, 0.125, 1]);
  },

  async 'foundation models: chat'() {
    const client = new AzureOpenAiChatClient('nano');
    const answer = await client.run({ messages: [{ role: 'user', content: 'Hi' }] });
    assert.equal(answer.getContent(), 'Hello');
    const response = await new AzureOpenAiChatClient('counts').stream({ messages: [{ role: 'user', content: 'Hi' }] });
    let text = '';
    for await (const piece of response.stream.toContentStream()) text += piece;
    assert.equal(text, 'tok0 tok1 tok2 tok3 tok4');
    assert.equal(response.getTokenUsage().completion_tokens, 5);
  },

  async 'foundation models: embeddings'() {
    const answer = await new AzureOpenAiEmbeddingClient('nano').run({ input: 'one' });
    assert.deepEqual(answer.getEmbedding(), [0.5, -0.25, 0.125, 1]);
  },

  async 'foundation models: no deployment of that name'() {
    await assert.rejects(() => new AzureOpenAiChatClient('gone').run({ messages: [{ role: 'user', content: 'Hi' }] }), /No deployment/);
  },

  async 'ai api: scenarios, models, a deployment from beginning to end'() {
    const scenarios = await ScenarioApi.scenarioQuery(group).execute();
    assert.deepEqual(scenarios.resources.map(it => it.id), ['foundation-models', 'orchestration']);
    const models = await ScenarioApi.scenarioQueryModels('foundation-models', group).execute();
    assert.ok(models.resources.some(it => it.model === 'nano' && it.versions[0].isLatest));
    const configuration = await ConfigurationApi.configurationCreate(
      {
        name: 'nano',
        scenarioId: 'foundation-models',
        executableId: 'azure-openai',
        parameterBindings: [{ key: 'modelName', value: 'nano' }, { key: 'modelVersion', value: 'latest' }]
      },
      group
    ).execute();
    const { id } = await DeploymentApi.deploymentCreate({ configurationId: configuration.id }, group).execute();
    assert.equal((await DeploymentApi.deploymentGet(id, {}, group).execute()).status, 'RUNNING');
    const answer = await new AzureOpenAiChatClient({ deploymentId: id }).run({ messages: [{ role: 'user', content: 'Hi' }] });
    assert.equal(answer.getContent(), 'Hello');
    const running = await refusal(() => DeploymentApi.deploymentDelete(id, group).execute());
    assert.equal(running.status, 409);
    await DeploymentApi.deploymentModify(id, { targetStatus: 'STOPPED' }, group).execute();
    await DeploymentApi.deploymentDelete(id, group).execute();
    assert.equal((await refusal(() => DeploymentApi.deploymentGet(id, {}, group).execute())).status, 404);
  },

  async 'ai api: resource groups'() {
    await ResourceGroupApi.kubesubmitV4ResourcegroupsCreate({ resourceGroupId: 'team-js' }).execute();
    const groups = await ResourceGroupApi.kubesubmitV4ResourcegroupsGetAll().execute();
    assert.deepEqual(groups.resources.map(it => it.resourceGroupId), ['default', 'team-js']);
    const client = new OrchestrationClient(nano('Hi'), { resourceGroup: 'team-js' });
    assert.equal((await client.chatCompletion()).getContent(), 'Hello');
    await ResourceGroupApi.kubesubmitV4ResourcegroupsDelete('team-js').execute();
  }
};

/** One line: what was wrong. */
function why(error) {
  const causes = [];
  for (let at = error; at; at = at.cause) causes.push(at.message, JSON.stringify(at.response?.data) ?? '');
  return `${error.constructor.name}: ${causes.join(' < ')}`.replace(/\s+/g, ' ');
}

const wanted = process.argv.slice(2);
let failed = false;
for (const [name, run] of Object.entries(cases)) {
  if (wanted.length > 0 && !wanted.some(part => name.includes(part))) continue;
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAILED ${name}: ${why(error)}`);
  }
}
process.exitCode = failed ? 1 : 0;

export { type CodeBlock, codeBlocks, extractCode } from '@posttrain/interfaces/answers';
export { type BubblewrapOptions, bubblewrap } from './bubblewrap/bubblewrap.js';
export { type DockerOptions, docker } from './docker/docker.js';
export { quickjs } from './quickjs/quickjs.js';
export { type SandboxNeeds, sandboxFor } from './sandbox-for.js';
export { type UnitTestsOptions, unitTests } from './unit-tests/unit-tests.js';

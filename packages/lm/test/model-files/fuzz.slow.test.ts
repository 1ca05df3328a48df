import { fuzzModelFiles } from './fuzz-model-files.js';

// Behind those of every run.
fuzzModelFiles(200, 2000);

import { fuzzModelFiles } from './model-fuzz.js';

// Behind those of every run.
fuzzModelFiles(200, 2000);

export type { WriteBytes, WriteToHandle } from './atomic-files.js';
export { AtomicFiles, writeAtomically } from './atomic-files.js';
export { FileError, writing } from './file-error.js';
export { makeFolder } from './make-folder.js';
export type { ProcessIdentity } from './process-identity.js';
export { hasEnded, thisProcess } from './process-identity.js';
export { completeSave, syncFolder } from './save-journal.js';
export { removeAbandoned, temporaryName } from './temporary.js';

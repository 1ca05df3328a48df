/** Words of English that IFBench's checkers know. */
const listed = (words: string): readonly string[] => words.trim().split(/\s+/);

/** NLTK's English stop words that are one `\w+`: those with an apostrophe are never one of the words that are counted. */
export const STOP_WORDS: ReadonlySet<string> = new Set(
  listed(`
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they them their theirs
    themselves what which who whom this that these those am is are was were be been being have has had having do does did doing a an the and but if or
    because as until while of at by for with about against between into through during before after above below to from up down in out on off over under
    again further then once here there when where why how all any both each few more most other some such no nor not only own same so than too very s t
    can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn`),
);

const PRONOUNS: ReadonlySet<string> = new Set(
  listed(`
    i me we us you he him she her it they them my mine our ours your yours his hers its their theirs
    myself ourselves yourself yourselves himself herself itself themselves this that these those who whom whose which what
    whoever whomever whatever whichever anybody anyone anything everybody everyone everything
    nobody nothing somebody someone something each either neither both all some any none`),
);
/** Whether a token in small letters is one of the pronouns. */
export const isPronoun = (token: string): boolean => PRONOUNS.has(token);

/** The names of persons that IFBench's prompts list. */
export const PERSON_NAMES: readonly string[] = listed(`
  Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily
  Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora
  Andrew Aria Joseph Claire Ryan Stella Jonathan`);

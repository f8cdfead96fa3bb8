// Python beside the page, which stays responsive: loads Pyodide and fastbp, then runs the programs
// that it is sent. It answers {text}, a line that was printed; {loss}, a point of the curve; and at
// the end {state}, {failed: true} with it where nothing can be run.
"use strict";
importScripts("pyodide/pyodide.js");

const show = text => postMessage({text});

async function load() {
  const python = await loadPyodide({indexURL: "pyodide/", stdout: show, stderr: show});
  await python.loadPackage("fastbp", {messageCallback: () => {}});
  python.runPython("import fastbp");
  return python;
}

const ready = load();
ready.then(() => postMessage({state: "Ready", failed: false}),
           error => postMessage({state: `This browser cannot run it: ${error.message}`, failed: true}));

onmessage = async ({data: program}) => {
  const python = await ready;
  const globals = python.toPy({plot: loss => postMessage({loss})});
  try {
    python.runPython(program, {globals});
    postMessage({state: "Done", failed: false});
  } catch (error) {
    show(error.message);
    postMessage({state: "The program stopped", failed: false});
  }
};

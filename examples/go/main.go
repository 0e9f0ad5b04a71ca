// Makes a model unsay a phrase that it writes for an input.
//
//	go run . models/debsum "summarize: ..." simple patched-model
//
// Prints the output before and after, and writes the patched model to a new folder. A patch in
// earnest also has many examples, and a guard of inputs that must not change.
package main

import (
	"fmt"
	"os"
)

const maxNewTokens = 64

func run(folder, input, phrase, newFolder string) error {
	model, err := Open(folder)
	if err != nil {
		return err
	}
	defer model.Close()
	before, err := model.Generate(input, maxNewTokens)
	if err != nil {
		return err
	}
	logP := float32(0)
	for _, value := range before.LogProbabilities {
		logP += value
	}
	fmt.Printf("before: %s (log-probability %.2f)\n", before.Text, logP)
	if err := patch(model, input, before, phrase); err != nil {
		return err
	}
	after, err := model.Generate(input, maxNewTokens)
	if err != nil {
		return err
	}
	fmt.Printf("after:  %s\n", after.Text)
	return model.Save(newFolder)
}

func patch(model *Model, input string, output *Output, phrase string) error {
	session, err := model.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	marks, err := model.MarkPhrase(output.IDs, phrase)
	if err != nil {
		return err
	}
	if err := session.Add(input, output.IDs, marks); err != nil {
		return err
	}
	goalMet, err := session.Run(40, func(step int, avoidP float32) {
		fmt.Printf("step %2d: avoided p %.4f\n", step, avoidP)
	})
	if err != nil {
		return err
	}
	if !goalMet {
		fmt.Println("the goal was not met in time")
	}
	return session.Commit()
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "unsay-example MODEL_FOLDER INPUT PHRASE NEW_FOLDER")
		os.Exit(1)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
